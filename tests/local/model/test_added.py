"""The history of what was added under a name."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from fedstream.catalog.additions import additions, current, list_models, record_addition
from fedstream.catalog.models import add_model, ensure_model
from fedstream.errors import CorruptObject
from fedstream.model.builtin import build_builtin
from fedstream.model.files import save_keras
from fedstream.record.layout import ModelKeys

A, B = "a" * 64, "b" * 64


def test_a_model_that_is_added_again_after_another_counts_again(store) -> None:
    first, second = (save_keras(build_builtin(name)) for name in ("builtin:digits-mlp", "builtin:mnist-2nn"))
    a, b = add_model(store, "mine", first), add_model(store, "mine", second)
    assert ensure_model(store, "mine") == b
    add_model(store, "mine", first)
    assert ensure_model(store, "mine") == a
    assert [added.digest for added in additions(store, "mine")] == [a.keras_digest, b.keras_digest, a.keras_digest]
    assert list_models(store) == ["mine"]


def test_added_twice_in_a_row_changes_nothing(store) -> None:
    record_addition(store, "mine", A)
    record_addition(store, "mine", A)
    assert [added.number for added in additions(store, "mine")] == [1]


def test_those_who_add_at_once_get_numbers_of_their_own(store) -> None:
    digests = [f"{number:064x}" for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda digest: record_addition(store, "mine", digest), digests))
    added = additions(store, "mine")
    assert [one.number for one in added] == list(range(1, 9))
    assert {one.digest for one in added} == set(digests)


def test_the_tenth_comes_after_the_ninth_and_other_names_are_no_numbers(store) -> None:
    for number in range(1, 11):
        record_addition(store, "mine", A if number % 2 else B)
    for name in ("²", "011", "-1", "x", "99999999999999999999"):
        store.put_new(f"{ModelKeys('mine').additions}{name}.json", b"{}")
    last = current(store, "mine")
    assert last is not None
    assert (last.number, last.digest) == (10, B)


def test_a_damaged_addition_is_named(store) -> None:
    store.put_new(ModelKeys("mine").addition(1), b'{"digest": "../../x"}')
    with pytest.raises(
        CorruptObject,
        match=r"models/mine/added/1\.json does not identify a model; .* `fedstream model remove mine` removes "
        r"everything under that name",
    ):
        current(store, "mine")


def test_the_commands_say_what_was_replaced_and_what_counts(platform_env, cli) -> None:
    sources = {name: f"fedstream.model.builtin:{name}" for name in ("digits_mlp", "mnist_2nn")}
    assert cli("model", "add", sources["digits_mlp"], "--name", "mine").out.startswith("added model mine: input (8, 8)")
    said = cli("model", "add", sources["digits_mlp"], "--name", "mine")
    assert (said.code, said.out) == (0, "model mine already is this file; nothing was changed\n")
    assert "; new runs start from it instead of " in cli("model", "add", sources["mnist_2nn"], "--name", "mine").out
    assert "input (8, 8)" in cli("model", "add", sources["digits_mlp"], "--name", "mine").out
    shown = cli("model", "show", "mine").out
    assert "input (8, 8)" in shown
    assert "(previously " in shown
