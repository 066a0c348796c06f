"""Columns and classes in another order are the same records; under other names they are not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedstream.errors import RecordError, UsageError
from fedstream.stream.columns import align, is_text, names_differ, number_classes

names = st.lists(st.text("abcdefgh ", min_size=1, max_size=4).filter(str.strip), min_size=1, max_size=6, unique=True)
orders = names.flatmap(lambda known: st.tuples(st.just(known), st.permutations(known)))


@given(orders, st.integers(1, 5))
def test_samples_come_into_the_runs_order_and_back(order: tuple[list[str], list[str]], records: int) -> None:
    run, own = order
    x = np.arange(records * len(run), dtype=np.float32).reshape(records, len(run))
    column = {name: x[:, position] for position, name in enumerate(own)}
    taken = align(own, [], run, []).samples(x)
    for position, name in enumerate(run):
        np.testing.assert_array_equal(taken[:, position], column[name])
    np.testing.assert_array_equal(align(run, [], own, []).samples(taken), x)
    assert taken.flags.c_contiguous


@given(orders, st.data())
def test_labels_mean_the_class_that_they_meant_and_come_back(
    order: tuple[list[str], list[str]], data: st.DataObject
) -> None:
    run, own = order
    y = np.array(data.draw(st.lists(st.integers(0, len(own) - 1), min_size=1, max_size=9)), np.uint8)
    taken = align([], own, [], run).labels(y)
    assert [run[number] for number in taken] == [own[number] for number in y]
    np.testing.assert_array_equal(align([], run, [], own).labels(taken), y)


def test_a_client_may_lack_a_class_but_not_have_one_of_its_own() -> None:
    np.testing.assert_array_equal(align([], ["c", "a"], [], ["a", "b", "c"]).labels(np.array([0, 1, 1])), [2, 0, 0])
    assert names_differ([], ["c", "d"], [], ["a", "b", "c"]).startswith(
        "its classes are not the run's: it has 'd', the run has 'a', 'b', 'c'; "
    )


def test_class_numbers_grow_beyond_the_type_in_which_they_were_sent() -> None:
    run = [str(number) for number in range(400)]
    np.testing.assert_array_equal(align([], ["399", "7"], [], run).labels(np.array([[0], [1]], np.uint8)), [[399], [7]])


@pytest.mark.parametrize(("own", "run"), [([], ["a", "b"]), (["a", "b"], []), ([], [])])
def test_where_one_side_names_nothing_the_order_is_taken_as_it_is(own: list[str], run: list[str]) -> None:
    x, y = np.eye(2), np.array([7, 3])
    assert align(own, own, run, run).samples(x) is x
    assert align(own, own, run, run).labels(y) is y


@pytest.mark.parametrize(
    ("own", "reason"),
    [
        (["age"], "it lacks 'bmi'; "),
        (["age", "bmi", "sex"], "it has 'sex', which the run does not; "),
        (["Age", "bmi"], "it lacks 'age' and has 'Age', which the run does not; "),
        ([*"abcde", "age", "bmi"], "it has 'a', 'b', 'c' and 2 more, which"),
    ],
)
def test_other_columns_are_refused_and_their_difference_is_named(own: list[str], reason: str) -> None:
    assert reason in names_differ(own, [], ["age", "bmi"], [])
    with pytest.raises(RecordError, match="its columns are not the run's"):
        align(own, [], ["age", "bmi"], [])


@pytest.mark.parametrize("label", [2.0, -1.0, 0.5, np.nan])
def test_a_label_that_is_none_of_the_streams_classes_is_refused_with_its_record(label: float) -> None:
    with pytest.raises(
        RecordError, match=rf"label {label} of record 1 is none of the stream's classes 0 to 1; 1 of 3 labels"
    ):
        align([], ["a", "b"], [], ["b", "a"]).labels(np.array([0.0, label, 1.0]))


@given(st.lists(st.sampled_from(["benign", "malignant", "unknown"]), min_size=1))
def test_texts_become_the_numbers_of_their_classes(texts: list[str]) -> None:
    numbers, classes = number_classes(texts)
    assert classes == sorted(set(texts))
    assert [classes[number] for number in numbers] == texts
    numbers, classes = number_classes(texts, ["unknown", "malignant", "benign"])
    assert [classes[number] for number in numbers] == texts


def test_a_text_that_is_no_class_is_refused_with_its_record() -> None:
    with pytest.raises(UsageError, match="label 'bening' of record 1 is none of the classes 'benign', 'malignant'; "):
        number_classes(["benign", "bening"], ["benign", "malignant"])


def test_only_texts_are_taken_for_texts() -> None:
    assert is_text(np.array(["a"]))
    assert is_text(np.array(["a"], dtype=object))
    assert not is_text(np.array([1], dtype=object))
    assert not is_text(np.array([1]))


def test_labels_that_are_text_are_classes_by_name():
    alignment = align([], ["well", "ill"], [], ["ill", "worse", "well"])
    assert alignment.labels(np.array(["ill", "well", " ill "], object)).tolist() == [0, 2, 0]
    with pytest.raises(
        RecordError, match="the label of record 1 is a text that is none of the stream's 2 classes; 1 of 2"
    ) as raised:
        alignment.labels(np.array(["ill", "HIV"], object))
    assert "HIV" not in str(raised.value)
