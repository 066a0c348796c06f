"""Runs as their ledgers tell of them: spec.json, commits and versions, without a model or an update behind them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from support.versions import version_manifest

from fedstream.model.split import split_mask
from fedstream.record.canonical import canonical_json, sha256_hex
from fedstream.record.commit import ClientEntry, Commit, Decision
from fedstream.record.documents import SliceRange
from fedstream.record.layout import ModelKeys, RunKeys
from fedstream.record.offsets import parse_ranges
from fedstream.record.run import RunRecord
from fedstream.store.ledger import Ledger
from fedstream.store.store import Store

TOPIC, RATE = "ward7", 0.3


def held_out(partition: int, offset: int) -> bool:
    """Return whether a record is held out in these runs."""
    return bool(split_mask(0, np.array([partition]), np.array([offset]), RATE)[0])


TRAINED, HELD_OUT = (next(o for o in range(20) if held_out(0, o) is wanted) for wanted in (False, True))
"""Offsets in partition 0 of a record that is trained on, and of one that is held out."""


def digest(*parts: object) -> str:
    return hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()


class WrittenRun:
    """A run whose commits a test writes one after another.

    Args:
        store: the bucket.
        run: name of the run.
        clients: client -> `topic:partition:start:end[,...]`, as announced.
        initial: digest of the .keras file that it starts from.
        changes: other fields of spec.json's clients, such as bootstrap_servers.
        evaluation: ranges of the evaluation topic; empty for none.
    """

    def __init__(
        self,
        store: Store,
        run: str,
        clients: Mapping[str, str],
        initial: str = digest("keras"),
        changes: Mapping[str, Any] | None = None,
        evaluation: str = "",
    ) -> None:
        self.store, self.run, self.keys, self.model = store, run, RunKeys(run), "mine"
        spec = {"run": run, "model": self.model, "rounds": 3, "purpose": "Tell urgent from routine admissions"}
        record = RunRecord.model_validate(
            {
                "spec": spec | ({"evaluation_topic": evaluation} if evaluation else {}),
                "model": {
                    "name": self.model,
                    "keras_digest": initial,
                    "weights_digest": digest(initial, "weights"),
                    "description_digest": digest("description"),
                },
                "clients": [_matched(name, ranges) | (changes or {}) for name, ranges in clients.items()],
                "evaluation": _matched("evaluation", evaluation) if evaluation else None,
                "announcements": [],
            }
        )
        parent = store.put_new_json(self.keys.spec, record.model_dump(mode="json"))
        self._append("initial", parent, [])

    def train(self, slices: Mapping[str, str], rejected: tuple[str, ...] = (), kind: str = "training") -> int:
        """Commit a round in which clients used these offsets, and return its number."""
        number = self.head + 1
        entries = [
            ClientEntry(
                client=client,
                accepted=client not in rejected,
                reason="valid" if client not in rejected else "its weights are not finite",
                num_examples=1,
                update_digest=digest(self.run, number, client) if kind == "training" else None,
                manifest_digest=digest("manifest", self.run, number, client),
                slice_digest=digest(ranges),
                slice_document=digest("slice", client, ranges),
                ranges=[
                    SliceRange(topic=r.topic, partition=r.partition, start=r.start, end=r.end)
                    for r in parse_ranges(ranges)
                ],
                incoming=None,
                trained=None,
            )
            for client, ranges in sorted(slices.items())
        ]
        return self._append(kind, Ledger(self.store, self.run).digest(number - 1), entries)

    def roll_back(self, to: int) -> int:
        """Commit a rollback, and return its number."""
        return self._append("rollback", Ledger(self.store, self.run).digest(self.head), [], to)

    def publish(self, version: int, round: int, **changes: Any) -> None:
        """Publish a round's model, as the newest version."""
        manifest = version_manifest(
            model=self.model,
            version=version,
            run=self.run,
            round=round,
            commit=Ledger(self.store, self.run).digest(round),
            files={"model.keras": digest(self.run, round, "keras")},
            **{"weights_digest": digest(self.run, round)} | changes,
        )
        keys, data = ModelKeys(self.model), canonical_json(manifest.model_dump(mode="json"))
        self.store.put_new(keys.version(version, "manifest.json"), data)
        latest = canonical_json({"version": version, "manifest": sha256_hex(data)})
        before = self.store.get_with_etag(keys.latest)[1] if self.store.exists(keys.latest) else None
        assert self.store.put_if_match(keys.latest, latest, before)

    @property
    def head(self) -> int:
        """The number of the last commit."""
        return len(Ledger(self.store, self.run).commits()) - 1

    def _append(self, kind: str, parent: str, entries: list[ClientEntry], restores: int | None = None) -> int:
        number = self.head + 1
        Ledger(self.store, self.run).append(
            Commit(
                run=self.run,
                round=number,
                kind=kind,
                parent=parent,
                base_digest=digest(self.run, number - 1),
                weights_digest=digest(self.run, number),
                clients=entries,
                restores=restores,
                decision=Decision(action="continue", reason=""),
                code_version="0.1.0",
            )
        )
        return number


def _matched(client: str, ranges: str) -> dict[str, Any]:
    return {
        "client": client,
        "bootstrap_servers": "",
        "ranges": ranges,
        "input_config": {},
        "held_out_rate": RATE,
        "records": sum(r.records for r in parse_ranges(ranges)),
    }
