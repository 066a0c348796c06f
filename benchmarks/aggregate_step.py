"""Measure the memory of the step `aggregate` with large updates in a store on disk.

python -m benchmarks.aggregate_step [--clients 20] [--millions 100]

The updates need 400 bytes per 100 parameters and client in the folder of temporary files, where the step also keeps a
copy of each while it runs. Every fourth client sends the same update, so the store has four files of them. The step
runs in a process of its own, and is the one that a pod runs.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from benchmarks.measuring import measure
from fedstream import __version__, steps
from fedstream.cli.output import print_table
from fedstream.record.canonical import sha256_hex
from fedstream.record.commit import Commit, Decision
from fedstream.record.documents import Manifest, Selection, SliceDoc, SliceRange
from fedstream.record.layout import RunKeys
from fedstream.record.run import RunRecord
from fedstream.record.selection import client_seed
from fedstream.steps.context import Context
from fedstream.store.disk import DiskStore
from fedstream.stream.memory import MemoryBrokers

RUN, LAYER, VARIANTS = "large", 4_000_000, 4
KEYS = RunKeys(RUN)
RECORDS = 100


def write_weights(path: Path, millions: int, variant: int) -> None:
    """Write a model of layers of 4 million parameters: the global one for variant 0, or one that trained a little."""
    layers = {}
    for layer in range(millions * 1_000_000 // LAYER):
        rng = np.random.default_rng(layer)
        base = rng.normal(0, 0.05, LAYER).astype(np.float32)
        change = np.roll(rng.normal(0, 0.005, LAYER).astype(np.float32), 7919 * variant)
        layers[f"layer-{layer:03}/kernel"] = (base + change if variant else base).reshape(2000, -1)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(layers, path)


def make_run(folder: Path, clients: int, millions: int) -> None:
    """Write a run whose first round has all its updates."""
    store, names = DiskStore(folder), [f"client-{number:02}" for number in range(clients)]
    matched = [
        {
            "client": name,
            "bootstrap_servers": "",
            "ranges": f"{name}:0:0:{RECORDS}",
            "input_config": {},
            "held_out_rate": 0.0,
            "records": RECORDS,
        }
        for name in names
    ]
    model = {name: sha256_hex(name.encode()) for name in ("keras_digest", "weights_digest", "description_digest")}
    record = {"spec": {"run": RUN, "model": "mine"}, "model": {"name": "mine"} | model, "clients": matched}
    document = RunRecord.model_validate(record | {"evaluation": None, "announcements": []})
    parent = store.put_new_json(KEYS.spec, document.model_dump(mode="json"))
    write_weights(folder / KEYS.at(0).weights, millions, 0)
    base = store.digest(KEYS.at(0).weights)
    commit = Commit(
        run=RUN,
        round=0,
        kind="initial",
        parent=parent,
        base_digest=base,
        weights_digest=base,
        decision=Decision(action="continue", reason=""),
        code_version=__version__,
    )
    store.put_new_json(KEYS.at(0).commit, commit.model_dump(mode="json"))
    selection = Selection(run=RUN, round=1, kind="training", clients=names)
    store.put_new_json(KEYS.at(1).selection, selection.model_dump(mode="json"))
    digests = []
    for variant in range(1, VARIANTS + 1):
        write_weights(folder / f"variant-{variant}", millions, variant)
        digests.append(store.digest(f"variant-{variant}"))
    for number, name in enumerate(names):
        write_update(store, name, base, digests[number % VARIANTS], document)
        os.link(
            folder / f"variant-{number % VARIANTS + 1}", folder / KEYS.at(1).update(name, digests[number % VARIANTS])
        )


def write_update(store: DiskStore, name: str, base: str, digest: str, record: RunRecord) -> None:
    """Write the slice and the manifest of a client."""
    document = SliceDoc(
        client=name,
        bootstrap_servers="",
        ranges=[SliceRange(topic=name, partition=0, start=0, end=RECORDS)],
        records=RECORDS,
        input_config={},
        class_counts={},
        digest=sha256_hex(name.encode()),
    )
    manifest = Manifest(
        run=RUN,
        round=1,
        client=name,
        base_digest=base,
        update_digest=digest,
        num_examples=RECORDS,
        slice_key=KEYS.at(1).slice(name),
        slice_digest=document.digest,
        slice_document=store.put_new_json(KEYS.at(1).slice(name), document.model_dump(mode="json")),
        seed=client_seed(record.spec.seed, 1, name),
        threads=record.spec.threads,
        device="CPU",
        code_version=__version__,
        measure_only=False,
        incoming=None,
        trained=None,
        training=None,
    )
    store.put_new_json(KEYS.at(1).manifest(name), manifest.model_dump(mode="json"))


def run_step(folder: str) -> None:
    """Run the step in this process, and print what it took as JSON."""
    context = Context(DiskStore(folder), MemoryBrokers())
    took = measure(lambda: steps.aggregate.within(context, RUN, 1, "bench"))
    highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"seconds": took.seconds, "cpu": took.cpu_seconds, "anon": took.memory_kib, "rss": highest}))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--millions", type=int, default=100, help="parameters, in millions; a multiple of 4")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        run_step(options.step)
        return
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        make_run(Path(folder), options.clients, options.millions)
        print(f"made the updates in {time.perf_counter() - began:.0f} s", file=sys.stderr)
        words = [sys.executable, "-m", "benchmarks.aggregate_step", "--step", folder]
        done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
        found = json.loads(done.stdout.splitlines()[-1])
    print_table(
        f"{options.clients} updates of {options.millions}M float32",
        ["seconds", "CPU seconds", "MiB of its own", "MiB resident at most"],
        [[found["seconds"], found["cpu"], found["anon"] // 1024, found["rss"] // 1024]],
    )


if __name__ == "__main__":
    main()
