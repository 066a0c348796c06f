"""Which variables travel and which are personal, decided from patterns and the model's description."""

from __future__ import annotations

from typing import Any

import pytest

from fedstream.errors import SpecError
from fedstream.record.description import ModelDescription, VariableDescription
from fedstream.record.exchange import Exchange, Parts, matches, parts_of, select
from fedstream.record.spec import RunSpec, changed_field, parse_spec

NAMES = [
    "dense/kernel",
    "batch_normalization/gamma",
    "batch_normalization/moving_mean",
    "block/batch_normalization_1/gamma",
    "head/kernel",
]


def model(*names: str, trainable: bool | None = True) -> ModelDescription:
    return ModelDescription(
        name="mine",
        input_shape=[4],
        output_shape=[3],
        num_classes=3,
        loss="sparse_categorical_crossentropy",
        metrics=[],
        variables=[
            VariableDescription(
                name=name, shape=[1], dtype="float32", trainable=trainable and "moving" not in name and trainable
            )
            for name in names or NAMES
        ],
        keras_digest="0" * 64,
        weights_digest="0" * 64,
    )


def shared(**fields: Any) -> list[str] | None:
    parts = parts_of(Exchange(**fields), model())
    return parts.shared if parts else None


def test_by_default_all_variables_travel_and_nothing_is_on_record() -> None:
    assert parts_of(Exchange(), model()) is None
    assert parts_of(Exchange(variables="all", compression="int8"), model()) is None


def test_patterns_choose_variables_in_the_order_of_the_model() -> None:
    assert shared(variables=["head/*", "dense/*"]) == ["dense/kernel", "head/kernel"]
    assert shared(variables="trainable") == [name for name in NAMES if "moving" not in name]


def test_personal_variables_do_not_travel() -> None:
    parts = parts_of(Exchange(personal=["*/batch_normalization*"]), model())
    assert parts is not None
    assert parts.shared == ["dense/kernel", "head/kernel"]
    assert [variable.name for variable in parts.personal] == NAMES[1:4], "FedBN: those at the top of the model too"
    assert parts.trained == {*NAMES}


def test_a_variable_that_is_personal_and_matches_variables_is_personal() -> None:
    parts = parts_of(Exchange(variables=["*kernel"], personal=["head/*"]), model())
    assert parts is not None
    assert parts.shared == ["dense/kernel"]
    assert parts.trained == {"dense/kernel", "head/kernel"}


def test_of_a_model_with_adapters_only_these_travel_unless_the_run_says_otherwise() -> None:
    lora = model("d/kernel", "d/bias", "d/lora_kernel_a", "d/lora_kernel_b", "e/lora_embeddings_a")
    parts = parts_of(Exchange(), lora)
    assert parts is not None
    assert parts.shared == ["d/lora_kernel_a", "d/lora_kernel_b", "e/lora_embeddings_a"]
    assert parts_of(Exchange(variables="all"), lora) is None


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {"variables": ["tail/*"]},
            "exchange.variables: 'tail/*' matches no variable of model 'mine', which has dense",
        ),
        (
            {"personal": ["tail/*"]},
            "exchange.personal: 'tail/*' matches no variable of model 'mine', which has dense",
        ),
        (
            {"personal": ["*"]},
            "exchange: nothing is left to exchange of model 'mine', whose variables are ",
        ),
        ({"variables": []}, "exchange: nothing is left to exchange of model 'mine', whose variables are "),
        ({"variables": ["head/*"], "personal": ["head/kernel"]}, "exchange: nothing is left to exchange"),
    ],
)
def test_patterns_that_leave_nothing_are_refused_by_name(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError) as caught:
        parts_of(Exchange(**fields), model())
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_long_list_of_variables_is_cut() -> None:
    many = model(*[f"layer_{number}/kernel" for number in range(100)])
    with pytest.raises(SpecError, match=r"layer_19/kernel and 80 more$"):
        parts_of(Exchange(variables=["x"]), many)


def test_a_model_of_an_earlier_version_does_not_know_what_is_trainable() -> None:
    with pytest.raises(SpecError, match="'mine' was added by an earlier version of fedstream"):
        parts_of(Exchange(variables="trainable"), model(trainable=None))


@pytest.mark.parametrize(
    ("exchange", "said"),
    [
        ({"variables": "some"}, "exchange.variables"),
        ({"personal": [""]}, "exchange.personal"),
        ({"compression": "zip"}, "exchange.compression: Input should be 'none', 'float16', 'int8' or 'topk'"),
        ({"compression": "topk", "fraction": 0}, "exchange.fraction: Input should be greater than 0 (given: 0)"),
        ({"fraction": 1.5}, "exchange.fraction: "),
        ({"what": 1}, "exchange.what: Extra inputs are not permitted"),
    ],
)
def test_a_wrong_exchange_is_named(exchange: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec({"run": "r", "model": "mine", "exchange": exchange})
    assert said in str(caught.value)


def test_a_spec_without_exchange_is_the_same_run() -> None:
    old = RunSpec.model_validate({"run": "r", "model": "mine"})
    assert changed_field(old, parse_spec({"run": "r", "model": "mine", "exchange": {}})) == ""
    assert "exchange was" in changed_field(
        old, parse_spec({"run": "r", "model": "mine", "exchange": {"compression": "int8"}})
    )


def test_select_keeps_what_travels() -> None:
    assert select({"a": 1, "b": 2}, None) == {"a": 1, "b": 2}
    assert select({"a": 1, "b": 2}, Parts(shared=["b"])) == {"b": 2}


@pytest.mark.parametrize(
    ("pattern", "matched"),
    [("*", True), ("a/*", True), ("*/a/*", True), ("*/b", True), ("b", False), ("A/*", False), ("a", False)],
)
def test_patterns_are_globs_of_whole_paths(pattern: str, matched: bool) -> None:
    assert matches("a/b", pattern) == matched
