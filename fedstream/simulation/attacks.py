"""What an attacker sends in place of its honest update. Pure functions of what the attacker received and trained."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fedstream.errors import UsageError
from fedstream.model.examples import Examples
from fedstream.model.streaming import AnyExamples, ExampleStream
from fedstream.record.weights import Weights, digest

Forge = Callable[[Weights, Weights, float], Weights]
"""Maps the received weights, the honestly trained ones, and a strength to the weights that are sent."""


@dataclass(frozen=True)
class Attack:
    """One way to attack.

    Attributes:
        name: Name of the attack.
        strength: Factor of the attack.
        classes: Number of classes of the data set, for `labelflip`.
    """

    name: str
    strength: float = 1.0
    classes: int = 0

    def examples(self, examples: AnyExamples) -> AnyExamples:
        """Return the records that the attacker trains on: with `labelflip`, class c becomes class classes - 1 - c.

        Held-out records keep their labels, so that what is measured stays comparable.
        """
        if self.name != "labelflip":
            return examples
        return examples.mapped(self._flipped) if isinstance(examples, ExampleStream) else self._flipped(examples)

    def _flipped(self, examples: Examples) -> Examples:
        flipped = (self.classes - 1 - examples.y.astype(np.int64)).astype(examples.y.dtype)
        held_out = examples.held_out.reshape(-1, *[1] * (examples.y.ndim - 1))
        return replace(examples, y=np.where(held_out, examples.y, flipped))

    def weights(self, received: Weights, trained: Weights) -> Weights:
        """Return the weights that the attacker sends, with the names, shapes and dtypes of those that it trained."""
        return FORGERIES[self.name][0](received, trained, self.strength)

    @property
    def label(self) -> str:
        """The attack as part of a client's name."""
        return self.name if self.strength == default_strength(self.name) else f"{self.name}-{self.strength:g}"


def parse_attack(text: str, labels: NDArray[np.generic]) -> Attack:
    """Read an attack such as `signflip` or `scaled:20`.

    Args:
        text: Name of the attack, and optionally its strength.
        labels: All labels of the data set.

    Raises:
        UsageError: The attack is not known, its strength is not a positive number, or the labels are not class numbers.
    """
    name, colon, parameter = text.partition(":")
    if name not in FORGERIES:
        raise UsageError(f"attack {text!r} is not known; use {', '.join(FORGERIES)}")
    strength = default_strength(name)
    if colon:
        if not strength:
            raise UsageError(f"attack {text!r}: {name} has no strength; use {name}")
        strength = _positive(text, parameter)
    if name != "labelflip":
        return Attack(name, strength)
    if labels[:1].size != 1 or labels.dtype.kind not in "iu" or labels.min() < 0:
        raise UsageError("attack 'labelflip' needs labels that are class numbers 0, 1, ...")
    return Attack(name, strength, int(labels.max()) + 1)


def default_strength(name: str) -> float:
    """Return the strength of an attack that names none; 0 for an attack without one."""
    return FORGERIES[name][1]


def _positive(text: str, parameter: str) -> float:
    try:
        value = float(parameter)
    except ValueError:
        value = math.nan
    if not 0 < value < 1e6:
        raise UsageError(f"attack {text!r}: {parameter!r} is not a number above 0 and below 1,000,000")
    return value


def _honest(received: Weights, trained: Weights, strength: float) -> Weights:
    """Send what was trained, for an attack on the records."""
    return trained


def _signflip(received: Weights, trained: Weights, strength: float) -> Weights:
    """Move the model `strength` times as far, in the opposite direction (Li et al. 2019, arXiv 1811.03761)."""
    return _moved(received, trained, -strength)


def _scaled(received: Weights, trained: Weights, strength: float) -> Weights:
    """Move the model `strength` times as far (model replacement of Bagdasaryan et al. 2020, arXiv 1807.00459)."""
    return _moved(received, trained, strength)


def _nan(received: Weights, trained: Weights, strength: float) -> Weights:
    """Send weights that are not numbers."""
    return {name: np.full_like(value, np.nan) if _floats(value) else value for name, value in trained.items()}


def _free_rider(received: Weights, trained: Weights, strength: float) -> Weights:
    """Send the received model back, as if nothing was learnt (Fraboni et al. 2021, arXiv 2006.11901)."""
    return {name: received.get(name, value) for name, value in trained.items()}


def _colluding(received: Weights, trained: Weights, strength: float) -> Weights:
    """Move the model in the same random direction as all other attackers, `strength` times as far as trained.

    The direction is drawn from the digest of the received model, which all attackers of a round have in common.
    """
    rng = np.random.default_rng(int(digest(received)[:32], 16))
    moved = [name for name, value in sorted(trained.items()) if _floats(value) and name in received]
    direction = {name: rng.standard_normal(trained[name].shape) for name in moved}
    far = math.sqrt(sum(float(np.sum((trained[name].astype(float) - received[name]) ** 2)) for name in moved))
    length = math.sqrt(sum(float(np.sum(value**2)) for value in direction.values())) or 1.0
    sent = {
        name: (received[name] + strength * far / length * value).astype(trained[name].dtype)
        for name, value in direction.items()
    }
    return trained | sent


def _moved(received: Weights, trained: Weights, factor: float) -> Weights:
    return {
        name: (received[name] + factor * (value.astype(float) - received[name])).astype(value.dtype)
        if _floats(value) and name in received
        else value
        for name, value in trained.items()
    }


def _floats(value: NDArray[np.generic]) -> bool:
    return np.issubdtype(value.dtype, np.floating)


FORGERIES: dict[str, tuple[Forge, float]] = {
    "labelflip": (_honest, 0.0),
    "signflip": (_signflip, 1.0),
    "scaled": (_scaled, 5.0),
    "nan": (_nan, 0.0),
    "freerider": (_free_rider, 0.0),
    "colluding": (_colluding, 1.0),
}
"""name -> how to forge an update, and the default strength; 0 if the attack has none."""
