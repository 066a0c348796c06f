"""A zygote for runs that are killed, and a stream of two small clients."""

import json
import subprocess
import sys
import uuid
from pathlib import Path

import numpy as np
import pytest

from fedstream.stream.send import send_dataset


class Zygote:
    """Runs federated runs in children that can be killed at a given point."""

    def __init__(self, log):
        self.log = log
        command = [sys.executable, str(Path(__file__).with_name("zygote.py"))]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log.open("ab"), text=True)
        assert self._answer() == {"ready": True}, log.read_text()

    def run(self, env, spec, kill=None):
        self.process.stdin.write(json.dumps({"env": env, "spec": spec, "kill": kill, "log": str(self.log)}) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self):
        return json.loads(self.process.stdout.readline() or "{}")

    def close(self):
        self.process.stdin.close()
        self.process.wait(30)


@pytest.fixture(scope="session")
def zygote(tmp_path_factory):
    zygote = Zygote(tmp_path_factory.mktemp("zygote") / "log")
    yield zygote
    zygote.close()


def blobs(seed, records=60):
    """Digits-shaped records that are easily told apart."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 10, records).astype(np.uint8)
    x = rng.uniform(0, 4, (records, 8, 8)).astype(np.float32)
    x[np.arange(records), y % 8, y // 8] += 12
    return x, y


@pytest.fixture(scope="session")
def clients(platform):
    """Two clients that have announced 60 records each."""
    names = [f"{owner}-{uuid.uuid4().hex[:6]}" for owner in ("a", "b")]
    for seed, name in enumerate(names):
        send_dataset(platform.kafka, name, name, *blobs(seed))
    return names


@pytest.fixture
def spec(clients):
    return {"run": "r", "model": "builtin:digits-mlp", "clients": clients, "rounds": 2, "batch_size": 10, "seed": 5}
