"""Measure `fedstream trace` over 1,000 rounds, with and without its index, in a store on disk and in S3.

python -m benchmarks.trace [--rounds 1000]

The ledgers are written without a training behind them: one run of all rounds, and then ten runs of a tenth each, whose
commits have the size of real ones. On disk, as many other files as real rounds have lie beside them.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fedstream import __version__
from fedstream.audit.question import Question
from fedstream.audit.trace import Trace, trace_records
from fedstream.cli.output import print_table
from fedstream.local.platform import Platform
from fedstream.record.canonical import sha256_hex
from fedstream.record.commit import ClientEntry, Commit, Decision
from fedstream.record.documents import Metrics, SliceRange
from fedstream.record.layout import RunKeys
from fedstream.record.run import RunRecord
from fedstream.store.disk import DiskStore
from fedstream.store.objects import ObjectStore
from fedstream.store.store import Store

CLIENTS, RECORDS = 10, 1_000
"""Clients of a run, and records of each."""

TURNS = 5
ASKED = Question.of("client-0", 0, 3)


def digest(*parts: object) -> str:
    return sha256_hex("/".join(map(str, parts)).encode())


def write_run(store: Store, run: str, rounds: int) -> None:
    """Write the plan and the ledger of a run whose rounds use all clients."""
    keys, names = RunKeys(run), [f"client-{number}" for number in range(CLIENTS)]
    parent = store.put_new_json(keys.spec, plan(run, names))
    for round in range(rounds + 1):
        entries = [entry(run, round, name) for name in names] if round else []
        commit = Commit(
            run=run,
            round=round,
            kind="training" if round else "initial",
            parent=parent,
            base_digest=digest(run, round - 1),
            weights_digest=digest(run, round),
            clients=entries,
            decision=Decision(action="continue", reason=""),
            code_version=__version__,
        )
        parent = store.put_new_json(keys.at(round).commit, commit.model_dump(mode="json"))


def fill(folder: Path) -> None:
    """Write a slice and a manifest for each client and round, which nobody reads."""
    for path in folder.glob("runs/*/rounds/*/commit.json"):
        for kind in ("slices", "updates"):
            (path.parent / kind).mkdir()
            for number in range(CLIENTS):
                (path.parent / kind / f"client-{number}.json").write_bytes(b"{}")


def plan(run: str, names: list[str]) -> dict[str, Any]:
    """Return spec.json."""
    clients = [
        {
            "client": name,
            "bootstrap_servers": "",
            "ranges": f"{name}:0:0:{RECORDS}",
            "input_config": {},
            "held_out_rate": 0.2,
            "records": RECORDS,
        }
        for name in names
    ]
    model = {name: digest(name) for name in ("keras_digest", "weights_digest", "description_digest")}
    record = {"spec": {"run": run, "model": "mine"}, "model": {"name": "mine"} | model, "clients": clients}
    return RunRecord.model_validate(record | {"evaluation": None, "announcements": []}).model_dump(mode="json")


def entry(run: str, round: int, name: str) -> ClientEntry:
    """Return what a commit says of a client of ten classes."""
    measured = Metrics(num_examples=200, values={"accuracy": 0.9, "loss": 0.1}, confusion=[[20] * 10] * 10)
    return ClientEntry(
        client=name,
        accepted=True,
        reason="valid",
        num_examples=800,
        update_digest=digest(run, round, name),
        manifest_digest=digest("manifest", run, round, name),
        slice_digest=digest(name),
        slice_document=digest("slice", name),
        ranges=[SliceRange(topic=name, partition=0, start=0, end=RECORDS)],
        incoming=measured,
        trained=measured,
    )


def timed(work: Callable[[], Trace], turns: int = TURNS) -> tuple[float, Trace]:
    """Return the median seconds of some work, and its result."""
    spent = []
    for _ in range(turns):
        began = time.perf_counter()
        found = work()
        spent.append(time.perf_counter() - began)
    return statistics.median(spent), found


def measure(name: str, store: Store, runs: int, rounds: int) -> list[list[object]]:
    """Return the rows of one store and one shape."""
    for number in range(runs):
        write_run(store, f"run-{number}", rounds // runs)
    if isinstance(store, DiskStore):
        fill(store.root)
    rows: list[list[object]] = []
    for what, work, turns in (
        ("no index", lambda: trace_records(store, ASKED), 1),
        ("writes the index", lambda: trace_records(store, ASKED, rebuild=True), 1),
        ("with the index", lambda: trace_records(store, ASKED), TURNS),
    ):
        seconds, found = timed(work, turns)
        assert not found.problems
        assert sum(len(run.uses) for run in found.runs) == rounds
        rows.append([name, f"{runs} x {rounds // runs}", what, seconds, found.commits_read])
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1_000)
    options = parser.parse_args()
    rows: list[list[object]] = []
    with tempfile.TemporaryDirectory() as folder, Platform(Path(folder) / "platform") as platform:
        os.environ.update(platform.env)
        s3 = ObjectStore(platform.store_settings)
        for runs in (1, 10):
            disk = Path(folder) / f"disk-{runs}"
            disk.mkdir()
            rows += measure("disk", DiskStore(disk), runs, options.rounds)
            rows += measure("SeaweedFS", s3.within(f"bench-{runs}/"), runs, options.rounds)
    print_table(f"{CLIENTS} clients", ["store", "runs x rounds", "trace", "seconds", "commits read"], rows)


if __name__ == "__main__":
    main()
