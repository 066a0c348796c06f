"""A record has one use in a run: whoever shares one is named;
and whatever ranges are drawn, the sweep agrees with counting record by record.
"""

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from fedstream.record.run import MatchedClient
from fedstream.steps.overlaps import shared_records


def client(name, ranges, servers=""):
    return MatchedClient(
        client=name, bootstrap_servers=servers, ranges=ranges, input_config={}, held_out_rate=0.1, records=1
    )


def test_two_clients_that_share_records_are_named_with_the_records():
    said = shared_records([client("a", "t:0:0:10"), client("b", "t:0:5:20")], None, "k:1")
    assert said == "client 'a' and client 'b' both announce records t:0:5:10"


def test_a_client_that_trains_on_the_evaluation_topic_is_named():
    said = shared_records([client("a", "u:0:0:10,t:1:0:9")], client("held", "t:1:8:12"), "k:1")
    assert said == "client 'a' and the evaluation topic both announce records t:1:8:9"


def test_other_partitions_topics_and_brokers_are_other_records():
    owners = [
        client("a", "t:0:0:10"),
        client("b", "t:1:0:10"),
        client("c", "u:0:0:10"),
        client("d", "t:0:10:20"),
        client("e", "t:0:0:10", "far:1"),
    ]
    assert shared_records(owners, None, "k:1") == ""


def test_the_default_brokers_spelled_out_are_the_same_brokers():
    assert "both announce" in shared_records(
        [client("a", "t:0:0:10"), client("b", "t:0:0:10", "l:2,k:1")], None, "k:1,l:2"
    )


SPANS = st.tuples(st.integers(0, 1), st.integers(0, 12), st.integers(1, 4))


@given(st.lists(SPANS, min_size=1, max_size=8))
def test_the_sweep_agrees_with_counting(spans):
    owners = [
        client(f"c{number}", f"t:{partition}:{start}:{start + length}")
        for number, (partition, start, length) in enumerate(spans)
    ]
    records = [{(partition, offset) for offset in range(start, start + length)} for partition, start, length in spans]
    assert bool(shared_records(owners, None, "k:1")) == any(one & other for one, other in combinations(records, 2))
