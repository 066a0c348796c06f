"""Local noise: a client clips its change and adds noise to it before it leaves the client."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from fedstream.privacy.mechanism import noised_mean
from fedstream.privacy.normals import Normals
from fedstream.record.extras import ArraySpec
from fedstream.record.local_rule import Finished, LocalRule, LocalTraining
from fedstream.record.weights import digest


@dataclass(frozen=True)
class LocalNoise(LocalRule):
    """What the strategy asks of its clients, and noise on the result.

    Attributes:
        rule: the strategy's own rule, which neither sends nor keeps arrays beside the weights.
        clip_norm: largest norm of the change.
        std: standard deviation of the noise on each element.
        key: returns the key of the noise for the digest of the weights that it is added to.
    """

    rule: LocalRule
    clip_norm: float
    std: float
    key: Callable[[str], bytes]

    @property
    def partial_work(self) -> bool:
        return self.rule.partial_work

    @property
    def corrects(self) -> bool:
        return self.rule.corrects

    def gradient(self, name: str, value: Any, start: Any, received: Mapping[str, Any], state: Mapping[str, Any]) -> Any:
        return self.rule.gradient(name, value, start, received, state)

    def returns(self, base: Mapping[str, Any]) -> dict[str, ArraySpec]:
        return self.rule.returns(base)

    def keeps(self, base: Mapping[str, Any]) -> dict[str, ArraySpec]:
        return self.rule.keeps(base)

    def finish(self, training: LocalTraining) -> Finished:
        """Return the weights with noise."""
        done = self.rule.finish(training)
        normals = Normals(self.key(digest(done.weights)))
        return replace(done, weights=noised_mean(training.start, [done.weights], 1, self.clip_norm, self.std, normals))
