"""What local_train returns, and the Kubeflow UI shows, of a client that ingest_from_kafka has refused:
a real store, no records.
"""

import pytest

from fedstream import steps
from fedstream.errors import RecordError
from fedstream.steps.context import Context
from fedstream.steps.refusal import LONGEST, refusing

REASON = "topic 'a' has no records after offset 100; announce the stream again"


@pytest.fixture
def state(platform_env):
    return Context.from_env().run("refused")


def test_local_train_repeats_why_ingest_refused_the_client(state):
    with refusing(state, 1, "a", "first", "ingest"):
        raise RecordError(REASON)
    assert steps.local_train("refused", 1, "a", "", "first") == f"a: cannot take part in round 1: {REASON}"


def test_a_refusal_of_another_submission_is_not_repeated(state):
    with refusing(state, 1, "a", "first", "ingest"):
        raise RecordError(REASON)
    assert (
        steps.local_train("refused", 1, "a", "", "second")
        == "a: cannot take part in round 1: ingest_from_kafka says why"
    )


@pytest.mark.parametrize("written", [b"[1]", b"{", b'{"client": "a", "step": "ingest", "reason": 1}'])
def test_a_refusal_that_a_client_has_spoiled_does_not_fail_the_step(state, written):
    state.store.put_new(state.keys.at(1).refusal("first", "a"), written)
    assert (
        "a: cannot take part in round 1: runs/refused/rounds/0001/refusals/first/a.json is no Refusal"
        in steps.local_train("refused", 1, "a", "", "first")
    )


def test_a_reason_is_repeated_up_to_a_length(state):
    with refusing(state, 1, "a", "first", "ingest"):
        raise RecordError("x" * 10_000)
    assert len(steps.local_train("refused", 1, "a", "", "first")) < LONGEST + 100
