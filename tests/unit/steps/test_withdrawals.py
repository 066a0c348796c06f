"""What a client withdraws takes part in no later round of a run that is on record."""

from hypothesis import given
from hypothesis import strategies as st
from support.federation import federation
from support.inprocess import pictures, rounds_until

from fedstream.audit.verify import verify_run
from fedstream.deadline import Deadline
from fedstream.local.inprocess import run_inprocess
from fedstream.record.offsets import OffsetRange, parse_ranges
from fedstream.steps import rounds as order
from fedstream.steps import withdrawals
from fedstream.steps.context import Context
from fedstream.steps.withdrawals import why_withdrawn
from fedstream.stream.announced import withdrawal
from fedstream.stream.announcement import DATA_CONTROL_TOPIC, DataAnnouncement, own_control_topic
from fedstream.stream.memory import MemoryBroker
from fedstream.stream.send import send_dataset

SPEC = {"run": "r", "model": "builtin:numpy-softmax", "rounds": 3, "batch_size": 10}
RAW = {"input_format": "RAW", "input_config": {}}


def heard(*said: DataAnnouncement | bytes) -> list[tuple[int, int, bytes]]:
    return [(0, offset, one if isinstance(one, bytes) else one.to_bytes()) for offset, one in enumerate(said)]


def said(topic: str, client: str = "a") -> DataAnnouncement:
    return DataAnnouncement(topic=topic, client=client, **RAW)


def why(*messages: DataAnnouncement | bytes, ranges: str = "t:0:0:5") -> str:
    return why_withdrawn(heard(*messages), "a", parse_ranges(ranges))


def test_records_are_withdrawn_by_the_message_that_says_so() -> None:
    assert why(said("t:0:0:5")) == ""
    assert why(said("t:0:0:5"), withdrawal("a", "t")) == (
        "its client has withdrawn topic 't' since the run was planned (message 0:1 of its control topic), "
        "so t:0:0:5 must not be used; announce these records again, or plan a run without"
    )
    assert "t:0:0:5" in why(withdrawal("a", "t"), ranges="t:0:0:5,u:0:0:5"), "retention took the announcement"


def test_nobody_else_and_no_other_topic_withdraws_them() -> None:
    assert why(said("t:0:0:5"), withdrawal("b", "t"), withdrawal("a", "u"), b"no json", b'"a"') == ""


def test_records_that_are_announced_again_are_offered_again_and_others_are_not() -> None:
    gone = withdrawal("a", "t")
    assert why(said("t:0:0:5"), gone, said("t:0:0:5")) == ""
    assert why(gone, said("t:0:0:3"), said("t:0:3:9")) == ""
    assert why(gone, said("t")) == "", "a stream without end has all of its topic"
    assert "t:0:0:5" in why(gone, said("t:0:1:9"))
    assert "message 0:2" in why(gone, said("t:0:0:5"), gone)


def test_a_name_may_be_escaped_or_left_to_the_topic() -> None:
    gone = withdrawal("a", "t").to_bytes()
    assert why(gone.replace(b'"client": "a"', b'"client": "\\u0061"'))
    assert why_withdrawn(heard(gone.replace(b'"client": "a"', b'"client": ""')), "t", parse_ranges("t:0:0:5"))


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 8), st.integers(1, 5)), max_size=8))
def test_a_record_is_withdrawn_if_no_announcement_since_the_withdrawal_has_it(
    messages: list[tuple[bool, int, int]],
) -> None:
    """A slow, obvious reference: each record on its own."""
    lost: set[int] = set()
    for withdrawn, start, length in messages:
        lost = set(range(4)) if withdrawn else lost - set(range(start, start + length))
    announcements = [withdrawal("a", "t") if gone else said(f"t:0:{at}:{at + n}") for gone, at, n in messages]
    assert bool(why_withdrawn(heard(*announcements), "a", [OffsetRange("t", 0, 0, 4)])) == bool(lost)


def test_a_run_on_record_goes_on_without_a_client_that_withdraws_and_with_it_when_it_announces_again() -> None:
    context = federation("north", "south")
    broker = context.brokers.at("")
    announced = broker.read_announcements(DATA_CONTROL_TOPIC, 1)
    order.run_round(rounds_until(context, SPEC, 1))
    broker.append(DATA_CONTROL_TOPIC, withdrawal("north", "north").to_bytes(), b"\0")
    order.run_round(rounds_until(context, SPEC, 2))
    broker.append(DATA_CONTROL_TOPIC, next(data for _, _, data in announced if b'"north"' in data), b"\0")
    run_inprocess(SPEC, context=context)
    state = context.run("r")
    took_part = [[e.client for e in commit.clients if e.accepted] for commit in state.ledger.commits()[1:4]]
    assert took_part == [["north", "south"], ["south"], ["north", "south"]]
    reason = state.ledger.commit(2).clients[0].reason
    assert "its client has withdrawn topic 'north' since the run was planned (message 0:2" in reason
    assert verify_run(context.store, "r", brokers=context.brokers).ok


def own_topics() -> tuple[Context, MemoryBroker]:
    """Two clients whose topics begin with their names, and the broker that everybody can write to."""
    context = Context.in_memory()
    broker = context.brokers.at("")
    for seed, client in enumerate(("north", "south")):
        send_dataset(broker, f"{client}.t", client, *pictures(seed, 60), validation_rate=0.2)
    return context, broker


OWN = SPEC | {"own_topics": True}


def withdraws(broker: MemoryBroker, client: str, *, own: bool) -> bytes:
    message = withdrawal(client, f"{client}.t").to_bytes()
    if own:
        broker.append(own_control_topic(client), message, b"\0")
    broker.append(DATA_CONTROL_TOPIC, message, b"\0")
    return message


def test_with_own_topics_nobody_withdraws_in_the_name_of_another() -> None:
    context, broker = own_topics()
    withdraws(broker, "north", own=False)
    order.run_round(rounds_until(context, OWN, 1))
    row = context.run("r").record.announcements[2]
    assert (row.client, row.accepted) == ("north", False)
    assert "the client's own control topic does not contain it (own_topics)" in row.reason
    withdraws(broker, "south", own=False)
    run_inprocess(OWN, context=context)
    assert [len(c.clients) for c in context.run("r").ledger.commits()[1:4]] == [2, 2, 2]
    assert all(entry.accepted for commit in context.run("r").ledger.commits()[1:] for entry in commit.clients)


def test_with_own_topics_a_client_withdraws_and_nobody_repeats_that_when_it_has_announced_again() -> None:
    context, broker = own_topics()
    announced = broker.read_announcements(DATA_CONTROL_TOPIC, 1)[0][2]
    order.run_round(rounds_until(context, OWN, 1))
    said = withdraws(broker, "north", own=True)
    order.run_round(rounds_until(context, OWN, 2))
    broker.append(DATA_CONTROL_TOPIC, announced, b"\0")
    broker.append(DATA_CONTROL_TOPIC, said, b"\0")
    run_inprocess(OWN, context=context)
    took_part = [[e.client for e in commit.clients if e.accepted] for commit in context.run("r").ledger.commits()[1:4]]
    assert took_part == [["north", "south"], ["south"], ["north", "south"]]
    again = Context(context.store, context.brokers)
    run_inprocess(OWN | {"run": "again", "rounds": 1}, context=again)
    assert [client.client for client in again.run("again").record.clients] == ["north", "south"]


def test_the_topics_of_so_many_names_are_read_and_no_more(monkeypatch) -> None:
    monkeypatch.setattr(withdrawals, "MOST", 2)
    broker = MemoryBroker()
    for client in ("a", "b", "c"):
        withdraws(broker, client, own=True)
    heard = broker.read_announcements(DATA_CONTROL_TOPIC, 1)
    assert withdrawals.unconfirmed(broker, heard, Deadline.after(1)) == {2}
