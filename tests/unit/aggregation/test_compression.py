"""What is lost in compression, that error feedback gives it back, and that no forged update is decoded."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fedstream.aggregation.compression import (
    LEVELS,
    Codec,
    Float16,
    Int8,
    TopK,
    codec_of,
    compress,
    decompress,
    sent_arrays,
)
from fedstream.errors import CorruptObject, UpdateError
from fedstream.record.exchange import Exchange
from fedstream.record.extras import join, spec_of
from fedstream.record.weights import Weights, digest

CODECS: list[Codec] = [Float16(), Int8(), TopK(0.1), TopK(0.5), TopK(1)]
changes = arrays.arrays(
    np.float64, st.integers(0, 40), elements=st.floats(-1e4, 1e4, width=32).filter(lambda x: x == 0 or abs(x) > 1e-30)
)


def lost(codec: Codec, change: np.ndarray) -> np.ndarray:
    return change - codec.decode(codec.encode(change), change.shape)


@given(changes)
def test_float16_loses_at_most_half_of_its_last_bit(change: np.ndarray) -> None:
    assert (np.abs(lost(Float16(), change)) <= np.maximum(np.abs(change) * 2.0**-11, 2.0**-25)).all()


@given(changes)
def test_int8_loses_at_most_half_a_level(change: np.ndarray) -> None:
    level = np.abs(change).max(initial=0) / LEVELS
    assert (np.abs(lost(Int8(), change)) <= level / 2 * (1 + 1e-4)).all()


def test_int8_by_hand() -> None:
    sent = Int8().encode(np.array([254.0, -127.0, 3.0, 0.9, -254.0]))
    assert float(sent["scale"]) == 2
    assert sent[""].tolist() == [127, -64, 2, 0, -127], "halves go to the even level"
    assert Int8().decode(sent, (5,)).tolist() == [254, -128, 4, 0, -254]


def slow_top(change: np.ndarray, fraction: float) -> dict[int, float]:
    """Return place -> value of the largest changes; of equal ones, those that come first."""
    count = math.ceil(fraction * change.size - 1e-9)
    places = sorted(range(change.size), key=lambda place: (-abs(change[place]), place))[:count]
    return {place: float(np.float32(change[place])) for place in sorted(places)}


@given(changes, st.sampled_from([0.01, 0.1, 0.29, 0.5, 1.0]))
def test_topk_sends_the_largest_changes(change: np.ndarray, fraction: float) -> None:
    sent = TopK(fraction).encode(change)
    assert dict(zip(sent["indices"].tolist(), sent["values"].tolist(), strict=True)) == slow_top(change, fraction)
    assert not TopK(fraction).why_bad(sent, change.size)


def test_topk_by_hand() -> None:
    sent = TopK(0.4).encode(np.array([[1.0, -3.0], [2.0, 3.0], [-2.0, 0.0]]))
    assert (sent["indices"].tolist(), sent["values"].tolist()) == ([1, 2, 3], [-3, 2, 3])


@given(changes, st.integers(0, 2**31))
def test_the_order_of_the_values_of_a_variable_does_not_matter(change: np.ndarray, seed: int) -> None:
    unique = np.unique(np.abs(change))
    order = np.random.default_rng(seed).permutation(unique.size)
    for codec in CODECS:
        decoded = codec.decode(codec.encode(unique), unique.shape)
        assert np.array_equal(codec.decode(codec.encode(unique[order]), unique.shape), decoded[order])


BASE: Weights = {
    "dense/kernel": np.linspace(-1, 1, 20, dtype=np.float32).reshape(4, 5),
    "double": np.ones(3),
    "half": np.ones(2, np.float16),
    "norm/moving_variance": np.full(5, 1e-6, np.float32),
    "steps": np.array(7, np.int64),
    "scalar": np.array(0.5, np.float32),
}


def moved(seed: int, base: Mapping[str, np.ndarray] = BASE) -> Weights:
    rng = np.random.default_rng(seed)
    return {
        name: (array + rng.normal(0, 0.1, array.shape)).astype(array.dtype) if array.dtype.kind == "f" else array
        for name, array in base.items()
    }


@pytest.mark.parametrize("codec", CODECS, ids=repr)
def test_an_update_has_the_arrays_that_are_expected_and_gives_weights_like_the_base(codec: Codec) -> None:
    weights = moved(1)
    sent, residual = compress(codec, BASE, weights, {})
    assert {name: spec_of(array) for name, array in sent.items()} == sent_arrays(codec, BASE)
    decoded = decompress(codec, BASE, sent)
    assert {name: spec_of(array) for name, array in decoded.items()} == {n: spec_of(a) for n, a in BASE.items()}
    for name in ("half", "norm/moving_variance", "steps"):
        assert np.array_equal(decoded[name], weights[name]), "what is no parameter is sent as it is"
    assert set(residual) == ({"dense/kernel", "double", "scalar"} if codec.feedback else set())


@pytest.mark.parametrize("codec", [codec for codec in CODECS if codec.feedback], ids=repr)
def test_error_feedback_gives_back_all_that_was_lost_but_the_last_residual(codec: Codec) -> None:
    """The sum of what is decoded is the sum of the changes minus the last residual (it telescopes)."""
    base, residual = {"w": np.zeros(30, np.float32)}, Weights()
    wanted, decoded = np.zeros(30), np.zeros(30)
    for step in range(20):
        weights = moved(step, base)
        sent, residual = compress(codec, base, weights, residual)
        wanted += weights["w"]
        decoded += decompress(codec, base, sent)["w"]
    assert np.abs(wanted - decoded - residual["w"]).max() < 1e-5
    assert np.abs(residual["w"]).max() < 4


def test_without_error_feedback_small_changes_never_arrive() -> None:
    """The reason for residuals: with top-k, the smaller of two constant changes would never be sent."""
    base, codec = {"w": np.zeros(2, np.float32)}, TopK(0.5)
    weights, residual, arrived = {"w": np.array([1, 0.4], np.float32)}, Weights(), np.zeros(2)
    for _ in range(10):
        sent, residual = compress(codec, base, weights, residual)
        arrived += decompress(codec, base, sent)["w"]
    assert arrived.min() >= 3


def test_extra_arrays_are_passed_on() -> None:
    sent, _ = compress(Int8(), BASE, moved(1), {})
    decoded = decompress(Int8(), BASE, join(sent, {"c/kernel": np.ones(2)}))
    assert decoded["extra//c/kernel"].tolist() == [1, 1]


@pytest.mark.parametrize("codec", CODECS, ids=repr)
def test_decoding_gives_the_same_bits_again(codec: Codec) -> None:
    sent, _ = compress(codec, BASE, moved(3), {})
    assert digest(decompress(codec, BASE, sent)) == digest(decompress(codec, BASE, dict(reversed(sent.items()))))


def test_a_change_that_is_too_large_is_the_client_s_error() -> None:
    with pytest.raises(UpdateError, match="variable 'w' changed by 1e\\+05, too much for the run's compression"):
        compress(Float16(), {"w": np.zeros(1, np.float32)}, {"w": np.full(1, 1e5, np.float32)}, {})


K = {"w": np.zeros(10, np.float32)}


def topk(indices: Any, values: Any = (1, 2), index_type: str = "uint32") -> Weights:
    return {"indices//w": np.array(indices, index_type), "values//w": np.array(values, np.float32)}


def int8(scale: Any, levels: Any = None, dtype: str = "float32") -> Weights:
    return {"w": np.zeros(10, np.int8) if levels is None else levels, "scale//w": np.array(scale, dtype)}


@pytest.mark.parametrize(
    ("codec", "update", "said"),
    [
        (TopK(0.2), topk([3, 10]), "variable 'w' has index 10, but only 10 values"),
        (TopK(0.2), topk([3, 2**32 - 1]), "variable 'w' has index 4294967295, but only 10 values"),
        (TopK(0.2), topk([3, 3]), "variable 'w' has indices that do not increase"),
        (TopK(0.2), topk([4, 3]), "variable 'w' has indices that do not increase"),
        (TopK(0.2), topk([1, 2], index_type="int64"), "array 'indices//w' has dtype int64, expected uint32"),
        (TopK(0.2), topk([1, 2, 3], [1, 2, 3]), "array 'indices//w' has shape (3,), expected (2,)"),
        (TopK(0.2), topk([1, 2], [1]), "array 'values//w' has shape (1,), expected (2,)"),
        (TopK(0.2), topk([1, 2], [1, np.nan]), "array 'values//w' has 1 values that are not finite"),
        (TopK(0.2), topk([1, 2]) | {"w": K["w"]}, "array 'w' is not in the compressed update"),
        (TopK(0.2), {}, "array 'indices//w' is missing"),
        (Int8(), int8(-1), "variable 'w' has scale -1, expected at least 0"),
        (Int8(), int8(np.nan), "array 'scale//w' has 1 values that are not finite (first: nan)"),
        (Int8(), int8(np.inf), "array 'scale//w' has 1 values that are not finite (first: inf)"),
        (Int8(), int8(1, dtype="float64"), "array 'scale//w' has dtype float64, expected float32"),
        (Int8(), int8([1]), "array 'scale//w' has shape (1,), expected ()"),
        (Int8(), int8(1, np.zeros(10, np.float32)), "array 'w' has dtype float32, expected int8"),
        (Int8(), {"w": np.zeros(10, np.int8)}, "array 'scale//w' is missing"),
        (Float16(), {"w": np.full(10, np.inf, np.float16)}, "array 'w' has 10 values that are not finite"),
        (Float16(), {"w": np.zeros(10, np.float32)}, "array 'w' has dtype float32, expected float16"),
        (Float16(), {"w": np.zeros((5, 2), np.float16)}, "array 'w' has shape (5, 2), expected (10,)"),
    ],
)
def test_a_forged_update_is_not_decoded(codec: Codec, update: Weights, said: str) -> None:
    with pytest.raises(CorruptObject) as caught:
        decompress(codec, K, update)
    assert said in str(caught.value)


def test_a_scale_that_overflows_gives_weights_that_the_judge_rejects() -> None:
    update = int8(3e38, np.full(10, 127, np.int8))
    assert np.isinf(decompress(Int8(), K, update)["w"]).all()


def test_a_run_says_how_its_updates_are_compressed() -> None:
    found = [codec_of(Exchange(compression=name, fraction=0.2)) for name in ("none", "float16", "int8", "topk")]  # type: ignore[arg-type]
    assert [type(codec) for codec in found] == [type(None), Float16, Int8, TopK]
    assert found[-1] == TopK(0.2)
