"""Canonical JSON: equal values have equal bytes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedstream.record.canonical import canonical_json, sha256_hex

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=20)


def reversed_keys(value):
    if isinstance(value, dict):
        return {key: reversed_keys(value[key]) for key in reversed(value)}
    return [reversed_keys(item) for item in value] if isinstance(value, list) else value


@given(VALUES)
def test_a_value_comes_back(value):
    assert json.loads(canonical_json(value)) == value


@given(VALUES)
def test_what_was_read_is_written_the_same(value):
    assert canonical_json(json.loads(canonical_json(value))) == canonical_json(value)


@given(VALUES)
def test_the_order_of_keys_does_not_matter(value):
    assert canonical_json(reversed_keys(value)) == canonical_json(value)


def test_the_spelling_is_sorted_dense_utf8():
    assert canonical_json({"b": [1, 2.0, None], "a": "Zürich 日本"}) == '{"a":"Zürich 日本","b":[1,2.0,null]}'.encode()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), {"a": [float("nan")]}])
def test_nan_and_infinity_are_refused(value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json(value)


def test_a_lone_surrogate_is_refused():
    with pytest.raises(ValueError, match="surrogates not allowed"):
        canonical_json("\ud800")


def test_sha256_of_a_known_text():
    assert sha256_hex(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
