"""Kafka or the object store is killed in the middle of a run and comes back: the run survives, or goes on when it is run again."""

import pytest

from fedstream.audit import verify_run
from fedstream.local.platform import Platform

AFTER_A = r"0001/updates/a[^.]*\.json"


@pytest.fixture(scope="module")
def own(tmp_path_factory, send_clients):
    """A platform of these tests' own, with the same records as the shared one."""
    with Platform(tmp_path_factory.mktemp("own"), environ={}) as own:
        send_clients(own.kafka_settings)
        yield own


@pytest.fixture
def own_place(own, place_at):
    return place_at(own.env)


@pytest.mark.parametrize("part", ["kafka", "seaweedfs"])
def test_killed_and_back_a_run_survives(own, own_place, zygote, spec, undisturbed_round, part):
    spec |= {"rounds": 1}
    run = zygote.start(own_place.env, spec, "after", AFTER_A, "wait")
    zygote.await_waiting(run)
    server = getattr(own, part)
    server.kill()
    zygote.flag(run).unlink()
    server.start()
    assert zygote.answer(run) == {"signal": 0, "version": 1}, zygote.tail()
    assert own_place.digests == undisturbed_round
    assert verify_run(own_place.store, "r").problems == []


def test_the_store_away_for_longer_than_anyone_waits(own, own_place, zygote, spec, undisturbed_round):
    spec |= {"rounds": 1}
    run = zygote.start({**own_place.env, "FEDSTREAM_TEST_PATIENCE_S": "1"}, spec, "after", AFTER_A, "wait")
    zygote.await_waiting(run)
    own.seaweedfs.kill()
    zygote.flag(run).unlink()
    error = zygote.answer(run)["error"]
    own.seaweedfs.start()
    assert error.startswith("StoreUnavailable: the object store at http://127.0.0.1:")
    assert zygote.run(own_place.env, spec) == {"signal": 0, "version": 1}, zygote.tail()
    assert own_place.digests == undisturbed_round
