"""The weighted mean, against the obvious one in fractions:
each element is the exact mean, rounded once, in any order of clients.
"""

import json
import os
import subprocess
import sys
import tracemalloc
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fedstream.aggregation import fedavg
from fedstream.aggregation.fedavg import federated_average
from fedstream.errors import UpdateError

FLOATS = [np.float16, np.float32, np.float64]


def exact_mean(counts, values):
    return sum(Fraction(count) * Fraction(float(value)) for count, value in zip(counts, values, strict=True)) / sum(
        counts
    )


def rounded(exact, dtype):
    """Round a fraction to the nearest number of a dtype, ties to even, by looking at the numbers around it."""
    near = dtype(float(exact))
    near = near if np.isfinite(near) else np.copysign(np.finfo(dtype).max, near)
    with np.errstate(over="ignore"):
        around = [near, np.nextafter(near, dtype(-np.inf)), np.nextafter(near, dtype(np.inf))]
    return min(
        (number for number in around if np.isfinite(number)),
        key=lambda number: (abs(Fraction(float(number)) - exact), int(number.view(f"u{number.itemsize}")) & 1),
    )


def reference(updates, name):
    """Return the mean of a variable, slowly and obviously."""
    values = [weights[name] for _, weights in updates]
    counts = [count for count, _ in updates]
    dtype, flat = values[0].dtype.type, [value.reshape(-1) for value in values]
    mean = []
    for column in zip(*flat, strict=True):
        exact = exact_mean(counts, column)
        negative = exact < 0 or (exact == 0 and all(np.signbit(column)))
        mean.append(np.copysign(rounded(exact, dtype), dtype(-1 if negative else 1)))
    return np.array(mean, dtype).reshape(values[0].shape)


def same_bits(found, expected):
    return found.dtype == expected.dtype and found.shape == expected.shape and found.tobytes() == expected.tobytes()


def numbers(dtype):
    """All finite numbers of a dtype, with those that are hard to sum more often than by chance."""
    info = np.finfo(dtype)
    hard = [
        0.0,
        -0.0,
        1.0,
        float(info.max),
        -float(info.max),
        float(info.smallest_subnormal),
        float(info.tiny),
        1 + float(info.eps),
        0.5,
    ]
    hard += [1e20, -1e20] if dtype != np.float16 else []
    width = 8 * np.dtype(dtype).itemsize
    return st.one_of(
        st.floats(width=width, allow_nan=False, allow_infinity=False),
        st.floats(-1, 1, width=width),
        st.sampled_from(hard),
    )


def updates_of(dtype):
    count = st.one_of(st.integers(1, 10_000), st.sampled_from([1, 2, 1 << 26, (1 << 26) - 1, 1 << 40, 1 << 51]))
    return st.lists(st.tuples(count, st.lists(numbers(dtype), min_size=4, max_size=4)), min_size=1, max_size=9)


def as_updates(drawn, dtype):
    return [(count, {"w": np.array(values, dtype)}) for count, values in drawn]


@pytest.mark.parametrize("dtype", FLOATS)
@settings(max_examples=150, deadline=None)
@given(st.data())
def test_each_element_is_the_exact_mean_rounded_once_in_any_order(dtype, data):
    updates = as_updates(data.draw(updates_of(dtype)), dtype)
    expected = reference(updates, "w")
    assert same_bits(federated_average(updates)["w"], expected)
    assert same_bits(federated_average(data.draw(st.permutations(updates)))["w"], expected)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("clients", [2, 3, 8, 100])
def test_models_as_training_makes_them(dtype, clients):
    rng = np.random.default_rng(clients)
    base = rng.normal(0, 0.1, 500)
    updates = [
        (int(rng.integers(1, 500)), {"w": (base + rng.normal(0, 0.01, 500)).astype(dtype)}) for _ in range(clients)
    ]
    assert same_bits(federated_average(updates)["w"], reference(updates, "w"))


@pytest.mark.parametrize("dtype", FLOATS)
def test_means_that_are_ties_go_to_the_even_neighbour(dtype):
    ones = np.ones(64, dtype)
    steps = (1 + np.arange(64) * np.finfo(dtype).eps).astype(dtype)
    updates = [(30, {"w": ones}), (30, {"w": steps})]
    assert same_bits(federated_average(updates)["w"], reference(updates, "w"))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_cancels_leaves_the_rest(dtype):
    values = [1e20, *[0.5] * 8, -1e20]
    for order in (values, values[::-1], sorted(values), [values[0], values[-1], *values[1:-1]]):
        mean = federated_average([(7, {"w": np.full(3, value, dtype)}) for value in order])["w"]
        assert mean.tolist() == [dtype(0.4)] * 3


def test_what_cancels_beyond_twice_the_precision_leaves_the_rest():
    values = [1e300, 1e-300, 0.5, -1e300]
    assert federated_average([(3, {"w": np.array([value])}) for value in values])["w"].tolist() == [0.125]


def test_sums_that_overflow_have_means_that_do_not():
    largest = np.finfo(np.float64).max
    updates = [
        (9, {"w": np.array([1e308, largest, -largest, largest])}),
        (3, {"w": np.array([1.5e308, largest, -largest, -largest])}),
    ]
    mean = federated_average(updates)["w"]
    assert mean.tolist() == [1.125e308, largest, -largest, largest / 2]


def test_denormal_numbers_are_summed_exactly():
    tiny = 5e-324
    updates = [
        (1, {"w": np.array([tiny, tiny])}),
        (1, {"w": np.array([tiny, 2 * tiny])}),
        (1, {"w": np.array([0.0, 2 * tiny])}),
    ]
    assert federated_average(updates)["w"].tolist() == [tiny, 2 * tiny]


@settings(deadline=None)
@example(3, 2)
@given(st.integers(1, 70), st.integers(1, 3))
def test_blocks_and_threads_do_not_show(size, threads):
    rng = np.random.default_rng(size)
    updates = [(count, {"w": rng.normal(size=size).astype(np.float32)}) for count in (3, 5, 8)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fedavg, "AVERAGED", 8)
        assert same_bits(federated_average(updates, threads)["w"], reference(updates, "w"))


def test_variables_of_many_dtypes_and_shapes():
    shapes = {
        "kernel": (np.float32, (3, 4)),
        "half": (np.float16, (5,)),
        "double": (np.float64, (2, 1, 2)),
        "scalar": (np.float32, ()),
        "none": (np.float32, (0, 3)),
    }
    rng = np.random.default_rng(2)
    updates = [
        (
            n,
            {name: rng.normal(size=shape).astype(dtype) for name, (dtype, shape) in shapes.items()}
            | {"steps": np.array([7])},
        )
        for n in (2, 9, 4)
    ]
    mean = federated_average(updates)
    assert list(mean) == [*shapes, "steps"]
    assert all(same_bits(mean[name], reference(updates, name)) for name in shapes)
    assert same_bits(mean["steps"], np.array([7]))


def test_arrays_of_any_layout():
    value = np.arange(6, dtype=np.float32).reshape(2, 3)
    mean = federated_average([(1, {"w": np.asfortranarray(value)}), (1, {"w": value})])
    assert same_bits(mean["w"], value)


def test_arrays_that_are_not_aligned():
    raw = np.frombuffer(b"x" + np.arange(5, dtype=np.float32).tobytes(), np.uint8)[1:].view(np.float32)
    assert not raw.flags.aligned
    assert federated_average([(1, {"w": raw}), (3, {"w": raw})])["w"].tolist() == [0, 1, 2, 3, 4]


def test_the_examples_weigh():
    mean = federated_average([(1, {"w": np.zeros(2, np.float32)}), (3, {"w": np.full(2, 4, np.float32)})])
    assert mean["w"].tolist() == [3.0, 3.0]


@pytest.mark.parametrize("dtype", FLOATS)
def test_one_client_gets_its_own_weights_back(dtype):
    weights = {"w": np.array([0.1, -7.25, 3e-5, -0.0], dtype), "b": np.array(2.5, dtype)}
    mean = federated_average([(17, weights)])
    assert all(same_bits(mean[name], weights[name]) for name in weights)


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.bool_])
def test_variables_that_are_no_floats_are_passed_on(dtype):
    value = np.array([1, 0], dtype)
    mean = federated_average([(1, {"n": value}), (2, {"n": value.copy()})])
    assert same_bits(mean["n"], value)
    assert mean["n"].base is None, "a view of a file that is about to go"


def test_the_inputs_are_not_changed():
    update = np.ones(3, np.float32)
    update.flags.writeable = False
    federated_average([(2, {"w": update}), (5, {"w": update})])
    assert update.tolist() == [1.0, 1.0, 1.0]


def test_nothing_to_average():
    with pytest.raises(UpdateError, match="no update to average"):
        federated_average([])


@pytest.mark.parametrize("spoilt", [0.0, 3e38])
def test_the_memory_is_that_of_blocks_whatever_the_values(spoilt):
    """One client spoils every element for the plain sum; its counterpart makes the result small again."""
    size, clients = 300_000, 12
    updates = [(1, {"w": np.full(size, number, np.float32)}) for number in range(clients)]
    updates += [(1, {"w": np.full(size, sign * spoilt, np.float32)}) for sign in (1, -1)]
    tracemalloc.start()
    try:
        mean = federated_average(updates)["w"]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert np.all(mean == np.float32(sum(range(clients)) / len(updates)))
    assert peak - mean.nbytes < 40 * fedavg.AVERAGED * 8 * fedavg.THREADS


MAPPED = """
import json, sys
from pathlib import Path
from fedstream.aggregation.fedavg import federated_average
from fedstream.store.mapped import map_weights

def anonymous():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))

updates = [(number + 1, map_weights(Path(path), path)) for number, path in enumerate(sys.argv[1:])]
before = anonymous()
mean = federated_average(updates)["w"]
print(json.dumps([anonymous() - before, mean.nbytes // 1024]))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_mapped_updates_take_no_memory_of_their_own(tmp_path):
    from fedstream.record.weights import to_bytes

    size, clients = 1_000_000, 20
    for number in range(clients):
        (tmp_path / f"{number}").write_bytes(
            to_bytes({"w": np.random.default_rng(number).normal(size=size).astype(np.float32)})
        )
    files = [str(tmp_path / f"{number}") for number in range(clients)]
    said = subprocess.run(
        [sys.executable, "-c", MAPPED, *files], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    grown, result = json.loads(said.stdout)
    assert grown - result < 40 * 1024, "KiB beside the mean; the updates have 78,000"


@pytest.mark.parametrize("clients", [2, 8, 80])
def test_equal_counts_give_ties_that_are_certain(clients, monkeypatch):
    """The sums are exact, so the slow way is not needed: it took most of the time of a trimmed mean."""
    asked = []
    monkeypatch.setattr(fedavg, "rounded_means", lambda values, counts, columns: asked.append(columns.size))
    values = np.random.default_rng(0).integers(2**23, 2**24, (clients, 4000)).astype(np.float32)
    found = fedavg.mean_of_block(values, [1] * clients)
    exact = [Fraction(sum(map(int, column)), clients) for column in values.T]
    assert sum(mean.denominator == 2 for mean in exact) > 4000 / (2 * clients), "ties"
    assert found.tolist() == [float(rounded(mean, np.float32)) for mean in exact]
    assert asked == []


@pytest.mark.parametrize("little", [1e-30, -1e-30, 0.0])
def test_sums_that_are_not_exact_are_not_certain(little):
    """float64 loses the little that decides on which side of a tie the mean lies."""
    values = [1.0, 1 + 2.0**-23, little, -little / 2]
    updates = [(count, {"w": np.array([value], np.float32)}) for count, value in zip([1, 1, 2, 2], values, strict=True)]
    updates += [(1, {"w": np.array([value], np.float32)}) for value in (1.0, 1 + 2.0**-23)]
    assert same_bits(federated_average(updates)["w"], reference(updates, "w"))
    half = [(1, {"w": np.array([value], np.float32)}) for value in (2.0, 2 + 2.0**-22, 4 * little, 0.0)]
    mean = federated_average(half)["w"]
    assert same_bits(mean, reference(half, "w"))
    assert mean[0] == (1 + 2.0**-23 if little > 0 else 1.0)
