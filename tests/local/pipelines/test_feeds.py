"""A feed that gives each round a part: what a round gets, what counts as used, and what a judge allows."""

import uuid

import pytest
from support.data import blobs

from fedstream.audit import verify_run
from fedstream.local.inprocess import run_inprocess
from fedstream.record.offsets import OffsetRange, parse_ranges
from fedstream.store.objects import ObjectStore
from fedstream.store.state import RunState
from fedstream.stream.broker import EnvironmentBrokers
from fedstream.stream.feed import Feed
from fedstream.stream.send import send_dataset

PART = 20


class Parts(Feed):
    """The next records that no accepted update was trained on."""

    def ranges(self, client, round, used, offered):
        [whole] = parse_ranges(client.ranges)
        start = max((r.end for ranges in used() for r in ranges), default=whole.start)
        return [OffsetRange(whole.topic, whole.partition, start, min(start + PART, whole.end))]


@pytest.fixture
def run(platform, platform_env, monkeypatch):
    name = f"p{uuid.uuid4().hex[:6]}"
    for seed, client in enumerate("ab"):
        send_dataset(platform.kafka, f"{name}.{client}", f"{name}.{client}", *blobs(seed, 60), validation_rate=0.2)
    with monkeypatch.context() as patch:
        patch.setattr("fedstream.steps.feeding.feed_of", lambda spec, kind: Parts())
        run_inprocess(
            {
                "run": name,
                "model": "builtin:digits-mlp",
                "clients": [f"{name}.a", f"{name}.b"],
                "rounds": 2,
                "batch_size": 10,
            }
        )
        assert verify_run(ObjectStore.from_env(), name, brokers=EnvironmentBrokers()).problems == []
    return RunState(ObjectStore.from_env(), name)


def test_each_round_gets_what_is_new_and_is_judged_by_it(run):
    trained = [commit for commit in run.ledger.commits() if commit.kind != "initial"]
    assert [commit.kind for commit in trained] == ["training", "training", "closing"]
    for number, commit in enumerate(trained):
        for entry in commit.clients:
            [part] = entry.ranges
            assert (entry.reason, part.start, part.end) == ("valid", number * PART, (number + 1) * PART)
            assert entry.num_examples <= PART


def test_a_slice_that_the_run_s_feed_does_not_give_is_found(run):
    problems = [problem.what for problem in verify_run(run.store, run.run).problems]
    assert any("its slice is not the planned one: ranges is" in what for what in problems)
