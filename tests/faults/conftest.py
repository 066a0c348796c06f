"""A zygote for runs that are killed, a stream of two small clients, and what an undisturbed run makes of it."""

import json
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from fedstream.errors import ObjectNotFound
from fedstream.local.platform import Platform
from fedstream.record.canonical import sha256_hex
from fedstream.settings import StoreSettings
from fedstream.store.ledger import Ledger
from fedstream.store.objects import ObjectStore
from fedstream.store.store import ObjectInfo
from fedstream.stream.send import send_dataset

FLAG_S = 60.0


class Zygote:
    """Runs federated runs in children that end, or wait, at a given point."""

    def __init__(self, folder):
        self.folder, self.log = folder, folder / "log"
        command = [sys.executable, str(Path(__file__).with_name("zygote.py"))]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log.open("ab"), text=True
        )
        self.started, self.answers = 0, {}
        self.answer(0)

    def start(self, env, spec, point="", what="", do="die"):
        """Start a run, and return its id; `point` (before, after, training,
        moment) and `what` say where it is to die or wait.
        """
        at = {"point": point, "what": what, "do": do, "flag": str(self.flag(self.started + 1))} if point else None
        return self._ask(env, spec=spec, at=at)

    def infer(self, env, *words, commits=0):
        """Run `fedstream infer`, which dies where it would commit for the last time, and return how it ended."""
        return self.answer(self._ask(env, infer=["infer", *words], commits=commits))

    def _ask(self, env, **what):
        self.started += 1
        self.process.stdin.write(json.dumps({"id": self.started, "env": env, "log": str(self.log), **what}) + "\n")
        self.process.stdin.flush()
        return self.started

    def answer(self, run):
        """Wait for the end of a run; pytest's timeout is the deadline."""
        while run not in self.answers:
            line = self.process.stdout.readline()
            assert line, f"the zygote has ended: {self.tail()}"
            said = json.loads(line)
            self.answers[said.pop("id")] = said
        return self.answers[run]

    def run(self, env, spec, point="", what=""):
        return self.answer(self.start(env, spec, point, what))

    def flag(self, run):
        return self.folder / f"waiting-{run}"

    def await_waiting(self, run):
        """Wait until a run has come to the point where it waits; it goes on when its flag is removed."""
        end = time.monotonic() + FLAG_S
        while not self.flag(run).exists():
            assert time.monotonic() < end, self.tail()
            time.sleep(0.02)

    def tail(self):
        return self.log.read_text()[-3000:]

    def close(self):
        self.process.stdin.close()
        self.process.wait(30)


@pytest.fixture(scope="session")
def zygote(tmp_path_factory):
    zygote = Zygote(tmp_path_factory.mktemp("zygote"))
    yield zygote
    zygote.close()


def blobs(seed, records):
    """Digits-shaped records that are easily told apart."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 10, records).astype(np.uint8)
    x = rng.uniform(0, 4, (records, 8, 8)).astype(np.float32)
    x[np.arange(records), y % 8, y // 8] += 12
    return x, y


@pytest.fixture(scope="session")
def client_names():
    suffix = uuid.uuid4().hex[:6]
    return [f"{owner}-{suffix}" for owner in ("a", "b")]


@pytest.fixture(scope="session")
def send_clients(client_names):
    """Return a function that sends the same records of two clients, 40 and 60, to any Kafka, and announces them."""

    def send(kafka):
        for seed, name in enumerate(client_names):
            send_dataset(kafka, name, name, *blobs(seed, records=40 + 20 * seed))

    return send


@pytest.fixture(scope="session")
def clients(platform, client_names, send_clients):
    send_clients(platform.kafka)
    return client_names


@pytest.fixture(scope="session")
def own(tmp_path_factory, send_clients):
    """A platform that tests may kill, with the same records as the shared one."""
    with Platform(tmp_path_factory.mktemp("own"), environ={}) as own:
        send_clients(own.kafka_settings)
        yield own


@pytest.fixture(scope="session")
def base_spec(client_names):
    return {
        "run": "r",
        "model": "builtin:digits-mlp",
        "clients": client_names,
        "rounds": 2,
        "batch_size": 10,
        "seed": 5,
    }


@pytest.fixture
def spec(base_spec):
    return dict(base_spec)


@dataclass(frozen=True)
class Place:
    """A prefix of a bucket in which one run lives."""

    env: dict

    @property
    def store(self):
        return ObjectStore(StoreSettings.from_env(self.env))

    @property
    def commits(self):
        return Ledger(self.store, "r").commits()

    @property
    def digests(self):
        return [commit.weights_digest for commit in self.commits]

    @property
    def times(self):
        return {info.key: info.last_modified for info in self.store.list("runs/")}

    def unchanged(self, before, when):
        """Return the times of the objects; none of those before may have been written again."""
        now = self.times
        assert {key: now.get(key) for key in before} == before, f"{when}: a finished object was written again"
        return now

    def beside(self):
        """Return an empty place in the same bucket."""
        return Place(self.env | {"S3_PREFIX": f"test-{uuid.uuid4().hex[:12]}/"})

    def copied(self, *prefixes):
        """Return a place of its own with copies of the objects below some prefixes."""
        copy = self.beside()
        for prefix in prefixes:
            for info in self.store.list(prefix):
                copy.store.put_new(info.key, self.store.get(info.key))
        return copy


@pytest.fixture(scope="session")
def place_at():
    """Return a function that gives an empty place in the store of an environment."""
    return lambda env: Place(env).beside()


@pytest.fixture
def place(platform, place_at):
    return place_at(platform.env)


@pytest.fixture
def own_place(own, place_at):
    return place_at(own.env)


@pytest.fixture(scope="session")
def undisturbed(platform, zygote, clients, base_spec):
    """A run of two rounds that nothing happened to."""
    place = Place(platform.env).beside()
    assert zygote.run(place.env, base_spec) == {"signal": 0, "version": 1}, zygote.tail()
    return place


@pytest.fixture(scope="session")
def undisturbed_round(undisturbed):
    """The digests of such a run with one round: initial, trained, measured."""
    initial, trained, *_ = undisturbed.digests
    return [initial, trained, trained]


class Snapshot(ObjectStore):
    """A store's objects in memory, where they can be changed."""

    def __init__(self, store, prefixes=("runs/", "models/")):
        super().__init__(store.settings)
        self.objects = {
            info.key: (store.get(info.key), info.last_modified) for prefix in prefixes for info in store.list(prefix)
        }

    def get_with_etag(self, key, limit=None):
        if key not in self.objects:
            raise ObjectNotFound(key)
        return self.objects[key][0], ""

    def digest(self, key):
        return sha256_hex(self.get(key))

    def download(self, key, digest, path, limit):
        path.write_bytes(self.get_verified(key, digest))

    def exists(self, key):
        return key in self.objects

    def list(self, prefix):
        return [
            ObjectInfo(key, len(data), at) for key, (data, at) in sorted(self.objects.items()) if key.startswith(prefix)
        ]

    def change(self, key, data):
        self.objects[key] = data, self.objects[key][1]


@pytest.fixture(scope="session")
def snapshot_of():
    return Snapshot
