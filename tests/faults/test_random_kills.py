"""Kill runs at random moments, and the servers under them.

Each run is killed several times, and every run ends with the digests of an undisturbed one.
FEDSTREAM_TEST_SEEDS=200 tries more of them; a failure names its seed and its kills, and -k 'seed17' repeats them.
"""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time

import pytest

from fedstream.audit import verify_run
from fedstream.local.launch import run_pipeline

COUNT = int(os.environ.get("FEDSTREAM_TEST_SEEDS", "20"))
AWAY_S = 1.5
"""The longest that a server is away."""
COMPILED_S = 20.0
"""From the start of a compiled run to its last kill; a run of one round takes longer."""


def seeds(count):
    return pytest.mark.parametrize("seed", range(count), ids=lambda seed: f"seed{seed}")


@pytest.fixture(scope="module")
def life(platform, place_at, zygote, clients, base_spec, undisturbed):
    """How many moments of each kind a whole run has."""
    began = time.monotonic()
    answer = zygote.run(place_at(platform.env).env, base_spec, "moment", {})
    assert answer.get("version") == 1, f"{answer}: {zygote.tail()}"
    return answer["moments"] | {"seconds": time.monotonic() - began}


def drawn(rng, life, rounds):
    """Draw a kind of moment, and one of those of a run of so many rounds;
    it may have ended by then, if it was killed before.
    """
    life = {kind: moments if rounds == 2 else type(moments)(moments * 0.6) for kind, moments in life.items()}
    kind = rng.choice(sorted(life))
    return {kind: rng.uniform(0, life[kind]) if kind == "seconds" else rng.randint(1, life[kind])}


def finished_like(place, undisturbed, when):
    assert place.digests == undisturbed, when
    assert verify_run(place.store, "r").problems == [], when


@seeds(COUNT)
def test_a_run_killed_at_random_moments(place, zygote, spec, life, undisturbed, undisturbed_round, seed):
    rng, finished = random.Random(seed), {}
    rounds = rng.choice([1, 2])
    spec, expected = spec | {"rounds": rounds}, undisturbed.digests if rounds == 2 else undisturbed_round
    kills = [drawn(rng, life, rounds) for _ in range(rng.randint(2, 3))]
    for number, kill in enumerate(kills, 1):
        when = f"seed {seed}, {kills[:number]}"
        answer = zygote.run(place.env, spec, "moment", kill)
        assert answer["signal"] == signal.SIGKILL or answer.get("version"), f"{when}: {answer}: {zygote.tail()}"
        finished = place.unchanged(finished, when)
        commits = place.digests
        assert commits == expected[: len(commits)], when
        assert not commits or verify_run(place.store, "r").problems == [], when
    answer = zygote.run(place.env, spec)
    assert answer.get("version"), f"{when}: {answer}: {zygote.tail()}"
    place.unchanged(finished, when)
    finished_like(place, expected, when)


@seeds(max(1, COUNT // 10))
def test_servers_killed_at_random_moments(own, own_place, zygote, spec, life, undisturbed_round, seed):
    rng, spec = random.Random(seed), spec | {"rounds": 1}
    kills = [
        (rng.choice(["kafka", "seaweedfs"]), rng.choice(["kill", "stop"]), rng.uniform(0, life["seconds"] / 3))
        for _ in range(2)
    ]
    when = f"seed {seed}, {kills}"
    run = zygote.start(own_place.env, spec)
    for part, how, after_s in kills:
        time.sleep(after_s)
        getattr(getattr(own, part), how)()
        time.sleep(rng.uniform(0, AWAY_S))
        getattr(own, part).start()
    answer = zygote.answer(run)
    if not answer.get("version"):
        answer = zygote.run(own_place.env, spec)
    assert answer.get("version"), f"{when}: {answer}: {zygote.tail()}"
    finished_like(own_place, undisturbed_round, when)


@seeds(max(1, COUNT // 20))
def test_a_compiled_run_killed_at_random_moments(place, spec, clients, undisturbed_round, tmp_path, monkeypatch, seed):
    rng, spec, finished = random.Random(seed), spec | {"rounds": 1}, {}
    kills = [rng.uniform(1, COMPILED_S) for _ in range(2)]
    for name, value in place.env.items():
        monkeypatch.setenv(name, value)
    for number, after_s in enumerate(kills, 1):
        when = f"seed {seed}, {kills[:number]}"
        run_and_kill(spec, after_s, tmp_path)
        finished = place.unchanged(finished, when)
        assert place.digests == undisturbed_round[: len(place.digests)], when
    assert run_pipeline(spec, tmp_path / "log"), when
    place.unchanged(finished, when)
    finished_like(place, undisturbed_round, when)


def run_and_kill(spec, after_s, folder):
    """Start the compiled pipeline as `fedstream run --runner kfp` does, and kill it with all its steps."""
    command = [sys.executable, "-m", "fedstream.pipelines.run_locally", str(folder / "result.json")]
    with (folder / "log").open("ab") as log:
        child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={**os.environ, "TMPDIR": str(folder)},
        )
    clock = threading.Timer(after_s, os.killpg, [child.pid, signal.SIGKILL])
    clock.start()
    try:
        child.stdin.write(json.dumps(spec).encode() + b"\n")
        child.stdin.flush()
        child.wait()
    finally:
        clock.cancel()
        child.stdin.close()
