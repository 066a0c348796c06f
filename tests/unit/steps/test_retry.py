"""A broker that is away is waited for until the deadline; one that refuses us is not."""

import time

import pytest

from fedstream.deadline import Deadline
from fedstream.errors import BrokerAway, BrokerError
from fedstream.steps import retry
from fedstream.steps.retry import patiently


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(retry, "AGAIN_S", 0.01)


def failing(error, times):
    """Return a function that fails a few times, and the seconds it was given each time."""
    given = []

    def call(left_s):
        given.append(left_s)
        if len(given) <= times:
            raise error
        return "records"

    return call, given


def test_a_broker_that_comes_back_costs_only_time():
    call, given = failing(BrokerAway("away"), 3)
    assert patiently(Deadline.after(60), call) == "records"
    assert len(given) == 4
    assert given == sorted(given, reverse=True)


def test_at_the_deadline_its_absence_is_the_error():
    call, given = failing(BrokerAway("away"), 10**6)
    began = time.monotonic()
    with pytest.raises(BrokerAway, match="away"):
        patiently(Deadline.after(0.1), call)
    assert len(given) > 1
    assert time.monotonic() - began < 10


def test_a_refusal_is_passed_on_at_once():
    call, given = failing(BrokerError("wrong password"), 1)
    with pytest.raises(BrokerError, match="wrong password"):
        patiently(Deadline.after(60), call)
    assert len(given) == 1
