"""All object keys are built here and nowhere else. Keys are write-once, and the highest commit is the state."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class ModelKeys:
    """Keys of one model.

    Attributes:
        model: name of the model; `builtin:NAME` is stored as `builtin-NAME`.
    """

    model: str

    @property
    def root(self) -> str:
        return f"models/{self.model.replace(':', '-')}"

    def initial(self, sha256: str, suffix: str = "keras") -> str:
        """Return the key of an uploaded model (`keras`), its weights (`safetensors`) or its description (`json`)."""
        return f"{self.root}/initial/{sha256}.{suffix}"

    @property
    def additions(self) -> str:
        """The prefix of the history of additions."""
        return f"{self.root}/added/"

    def addition(self, number: int) -> str:
        """Return the key that names the `number`-th added model (1, 2, ...); the highest number is current."""
        return f"{self.additions}{number}.json"

    @property
    def aliases(self) -> str:
        return f"{self.root}/aliases/"

    def alias(self, name: str) -> str:
        return f"{self.aliases}{name}.json"

    @property
    def versions(self) -> str:
        return f"{self.root}/versions/"

    def version_of(self, key: str) -> tuple[int, str] | None:
        """Return the number and the file name in a key that `version` built.

        Returns None for any other key, such as a key of version `01` or `²`.
        """
        found = re.fullmatch(f"{re.escape(self.versions)}([1-9][0-9]{{0,8}})/(.+)", key)
        return (int(found[1]), found[2]) if found else None

    def version(self, number: int, name: str) -> str:
        """Return the key of file `name` of published version `number` (1, 2, ...)."""
        return f"{self.versions}{number}/{name}"

    @property
    def latest(self) -> str:
        return f"{self.root}/latest.json"


@dataclass(frozen=True)
class RoundKeys:
    """Keys of one round of a run. Round 0 is the initial model."""

    run: str
    round: int

    @property
    def root(self) -> str:
        return f"runs/{self.run}/rounds/{self.round:04d}"

    def opened_by(self, attempt: str) -> str:
        """Return the prefix of the openings of one submission."""
        return f"{self.root}/opened/{attempt}-"

    def opened(self, attempt: str, slot: int) -> str:
        return f"{self.opened_by(attempt)}{slot}.json"

    @property
    def selection(self) -> str:
        return f"{self.root}/selection.json"

    def slice(self, client: str) -> str:
        return f"{self.root}/slices/{client}.json"

    def update(self, client: str, digest: str) -> str:
        """Return the key of an update's weights.

        If a client trained more than once, its manifest tells which digest counts.
        """
        return f"{self.root}/updates/{client}-{digest}.safetensors"

    def client_state(self, client: str, digest: str) -> str:
        """Return the key of the arrays that a client keeps for its next round; its manifest names the digest."""
        return f"{self.root}/client_states/{client}-{digest}.safetensors"

    def manifest(self, client: str) -> str:
        return f"{self.root}/updates/{client}.json"

    def refusal(self, attempt: str, client: str) -> str:
        return f"{self.root}/refusals/{attempt}/{client}.json"

    def statistics_of(self, client: str) -> str:
        """Return the key of what a client contributes to the statistics; only in round 0."""
        return f"{self.root}/statistics/{client}.json"

    @property
    def statistics(self) -> str:
        return f"{self.root}/statistics.json"

    @property
    def verdicts(self) -> str:
        return f"{self.root}/verdicts.json"

    @property
    def weights(self) -> str:
        return f"{self.root}/global.safetensors"

    @property
    def server_state(self) -> str:
        return f"{self.root}/server_state.safetensors"

    @property
    def broadcast(self) -> str:
        """The key of the arrays that go out to the clients with the round's global model."""
        return f"{self.root}/broadcast.safetensors"

    @property
    def aggregation(self) -> str:
        return f"{self.root}/aggregation.json"

    @property
    def commit(self) -> str:
        return f"{self.root}/commit.json"


MODELS, RUNS = "models/", "runs/"
"""Prefixes of all models and of all runs."""


@dataclass(frozen=True)
class RunKeys:
    """Keys of one run."""

    run: str

    @property
    def root(self) -> str:
        return f"runs/{self.run}"

    @property
    def spec(self) -> str:
        return f"{self.root}/spec.json"

    def submission(self, number: int) -> str:
        """Return the key of the `number`-th change of the operational values (1, 2, ...); the highest counts."""
        return f"{self.root}/submissions/{number}.json"

    @property
    def rounds(self) -> str:
        return f"{self.root}/rounds/"

    @property
    def trace(self) -> str:
        """The key of the index that `fedstream trace` searches, outside the run's folder: it is not on record."""
        return f"traces/{self.run}.json"

    def at(self, round: int) -> RoundKeys:
        return RoundKeys(self.run, round)
