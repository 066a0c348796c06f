"""Every record goes to exactly one client, and the same arguments deal the same records."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedstream.errors import UsageError
from fedstream.local.partition import Dirichlet, Iid, Shards, by_value, deal, parse_partition

PARTITIONS = st.one_of(
    st.just(Iid()), st.builds(Shards, st.integers(1, 5)), st.builds(Dirichlet, st.floats(0.01, 100, allow_nan=False))
)


@given(st.integers(1, 12), PARTITIONS, st.integers(0, 5), st.integers(60, 200))
def test_every_record_is_dealt_once_and_the_same_again(clients, partition, seed, records):
    labels = np.random.default_rng(seed).integers(0, 10, records)
    dealt = deal(labels, clients, partition, seed)
    assert len(dealt) == clients
    assert sorted(np.concatenate(dealt).tolist()) == list(range(records))
    assert all(
        np.array_equal(one, other) for one, other in zip(dealt, deal(labels, clients, partition, seed), strict=True)
    )


@given(st.integers(1, 12), st.integers(12, 200))
def test_iid_parts_differ_by_one_record_at_most(clients, records):
    sizes = [len(own) for own in deal(np.zeros(records, int), clients, "iid")]
    assert max(sizes) - min(sizes) <= 1


@given(st.integers(1, 4), st.integers(0, 5))
def test_shards_give_few_classes_to_each(per_client, seed):
    labels = np.repeat(np.arange(10), 120)
    for own in deal(labels, 10, Shards(per_client), seed):
        assert len(own) == 120
        assert len(np.unique(labels[own])) <= per_client


def test_a_small_alpha_gives_few_classes_and_a_large_one_all():
    labels = np.repeat(np.arange(10), 200)

    def classes(alpha):
        return np.mean([len(np.unique(labels[own])) for own in deal(labels, 10, Dirichlet(alpha))])

    assert classes(0.05) < 5 < 9.5 < classes(100)


def test_another_seed_deals_otherwise():
    labels = np.arange(100) % 10
    assert not np.array_equal(deal(labels, 4, "dirichlet", 0)[0], deal(labels, 4, "dirichlet", 1)[0])


def test_a_column_deals_by_its_values():
    dealt = by_value(np.array([7, 9, 7, 7]))
    assert {name: own.tolist() for name, own in dealt.items()} == {"7": [0, 2, 3], "9": [1]}
    assert list(by_value(np.array(["west ", "east", "west"]))) == ["east", "west"]


@pytest.mark.parametrize(
    ("text", "partition"),
    [
        ("iid", Iid()),
        ("shards", Shards(2)),
        ("shards:5", Shards(5)),
        ("dirichlet", Dirichlet(0.5)),
        ("dirichlet:0.1", Dirichlet(0.1)),
    ],
)
def test_a_text_names_a_partition(text, partition):
    assert parse_partition(text) == partition


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("even", "partition 'even' is not known; use iid, shards[:PER_CLIENT] or dirichlet[:ALPHA]"),
        ("iid:3", "partition 'iid:3' is not known"),
        ("shards:0", "partition 'shards:0': '0' is not a whole number from 1 to 1,000"),
        ("shards:2.5", "'2.5' is not a whole number"),
        ("dirichlet:nan", "partition 'dirichlet:nan': 'nan' is not a number from 1e-06 to 1,000,000.0"),
        ("dirichlet:-1", "'-1' is not a number"),
    ],
)
def test_another_text_is_refused(text, said):
    with pytest.raises(UsageError) as error:
        parse_partition(text)
    assert said in str(error.value)


def test_too_few_records_are_refused():
    with pytest.raises(UsageError, match="3 records cannot be divided among 4 clients; use fewer clients"):
        deal(np.zeros(3, int), 4, "iid")
    with pytest.raises(UsageError, match="9 records cannot be divided into 4 x 3 shards; use fewer clients or fewer"):
        deal(np.zeros(9, int), 4, "shards:3")
