"""The chain of commits: the highest one is the state, and two runners never fork it."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from fedstream.errors import CorruptObject, ObjectNotFound, RunError
from fedstream.record.canonical import canonical_json, sha256_hex
from fedstream.record.commit import Commit, Decision
from fedstream.record.layout import RunKeys
from fedstream.store.ledger import Ledger
from fedstream.store.objects import ObjectStore

SPEC_DIGEST = sha256_hex(b"spec")
KEYS = RunKeys("r")


def a_commit(round, parent, reason=""):
    return Commit(
        run="r",
        round=round,
        kind="training" if round else "initial",
        parent=parent,
        base_digest=sha256_hex(b"base"),
        weights_digest=sha256_hex(f"weights {round}".encode()),
        decision=Decision(action="continue", reason=reason),
        code_version="1",
    )


@pytest.fixture
def ledger(store):
    """A ledger with rounds 0 and 1."""
    ledger = Ledger(store, "r")
    ledger.append(a_commit(0, SPEC_DIGEST))
    ledger.append(a_commit(1, ledger.digest(0)))
    return ledger


def test_a_run_without_commits_has_no_head(store):
    assert Ledger(store, "r").head() is None
    assert Ledger(store, "r").commits() == []


def test_commits_come_back_in_order(ledger, store):
    assert [commit.round for commit in ledger.commits()] == [0, 1]
    assert Ledger(store, "r").commits() == ledger.commits()
    assert ledger.head() == ledger.commit(1)


def test_the_digest_is_that_of_the_canonical_bytes_on_record(ledger, store):
    data = store.get(KEYS.at(1).commit)
    assert ledger.digest(1) == sha256_hex(data)
    assert canonical_json(ledger.commit(1).model_dump(mode="json")) == data


def test_an_absent_commit_is_not_found(ledger):
    with pytest.raises(ObjectNotFound, match="0002/commit"):
        ledger.commit(2)


def test_a_ledger_sees_what_another_one_appends(ledger, store):
    Ledger(store, "r").append(a_commit(2, ledger.digest(1)))
    assert ledger.head().round == 2


def test_a_retry_returns_the_commit_on_record(ledger):
    assert ledger.append(a_commit(1, ledger.digest(0))) == ledger.commit(1)


def test_the_slower_of_two_gets_the_faster_ones_commit(ledger, store):
    slower = a_commit(1, ledger.digest(0), reason="another measurement")
    assert Ledger(store, "r").append(slower) == ledger.commit(1) != slower


def test_a_commit_with_another_parent_is_refused(ledger):
    with pytest.raises(RunError, match=r"round 1 of run 'r' is on record with another parent"):
        ledger.append(a_commit(1, sha256_hex(b"elsewhere")))
    assert ledger.commit(1).parent == ledger.digest(0)


def test_of_racing_runners_one_commits_and_all_go_on_from_it(ledger, store):
    begin = threading.Barrier(8)

    def append(number):
        own = Ledger(ObjectStore(store.settings), "r")
        commit = a_commit(2, own.digest(1), reason=f"runner {number}")
        begin.wait(30)
        return own.append(commit), own.digest(2)

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(append, range(8)))
    assert outcomes == [(ledger.commit(2), ledger.digest(2))] * 8


@pytest.mark.parametrize("data", [b"{", b"\xff", b"[]", b'{"run":"r"}', b'{"round":NaN}'])
def test_a_damaged_commit_is_named(ledger, store, data):
    store.put_new(KEYS.at(2).commit, data)
    with pytest.raises(CorruptObject, match=r"^runs/r/rounds/0002/commit\.json is no Commit"):
        ledger.head()
