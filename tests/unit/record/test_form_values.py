"""Form values as parameters of a pipeline, and back."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedstream.errors import SpecError
from fedstream.record.form import form_of, packed_form
from fedstream.record.form_values import packed, parse_form
from fedstream.record.pipeline_options import PipelineOptions
from fedstream.record.spec import RunSpec, parse_spec

GOOD = {"run": "r", "model": "builtin:digits-mlp", "evaluation_topic": "judge"}
CHANGED: dict[str, Any] = {
    "data_restriction": {"site": "a"},
    "slices": "all",
    "own_topics": True,
    "min_data": 7,
    "validation_rate": 0.25,
    "preprocessing": {"steps": [{"step": "scale", "factor": 0.5}], "one_hot_labels": 3},
    "statistics": {"min_records": 20},
    "feed": {"kind": "new", "at_least": 10},
    "mixed_precision": True,
    "threads": 1,
    "baseline": True,
    "stream_above_mib": 64,
    "max_skipped": 3,
    "unsupervised": True,
    "unsupervised_rounds": 3,
    "confidence": 0.8,
    "outlier_bound": 3.0,
    "leave_one_out": True,
    "clipping": {"norm": 1.0},
    "privacy": {"where": "central", "noise_multiplier": 1.0, "delta": 1e-5, "max_epsilon": 8.0},
    "exchange": {"variables": ["*/kernel"], "compression": "topk", "fraction": 0.25},
    "rounds": 4,
    "indefinite": True,
    "change": "down",
    "improvement": 0.5,
    "sites": {"a": {"bootstrap_servers": "a:1"}},
}
KEYS = "data_restriction, slices, own_topics, min_data, max_skipped, validation_rate, preprocessing, statistics, feed"


@given(st.sets(st.sampled_from(sorted(CHANGED))))
def test_a_spec_comes_back_from_the_parameters_of_the_pipeline(names: set[str]) -> None:
    chosen = names | {"feed"} if "indefinite" in names else names  # an indefinite run needs new records
    spec = RunSpec(**GOOD, **{name: CHANGED[name] for name in chosen})

    values = packed(spec)

    assert values.keys() == {field.name for field in packed_form(RunSpec)}
    assert parse_spec(values) == spec


def test_every_field_within_an_object_is_tried_here() -> None:
    assert {field.name for field in form_of(RunSpec) if field.within} <= CHANGED.keys()


def test_options_of_the_pipeline_have_parameters_of_their_own() -> None:
    assert packed(PipelineOptions()) == PipelineOptions().model_dump()
    assert parse_form(PipelineOptions, {"memory": "8Gi"}).memory == "8Gi"


def test_keys_that_are_left_out_keep_their_defaults() -> None:
    spec = parse_spec(GOOD | {"data_options": {"min_data": 7.0}, "training_options": {}})

    assert spec == RunSpec(**GOOD, min_data=7)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"data_options": {"min_records": 7}}, f"data_options has no key 'min_records'; its keys are {KEYS}"),
        ({"data_options": {"rounds": 7}}, f"data_options has no key 'rounds'; its keys are {KEYS}"),
        ({"data_options": {"a\nb": 7}}, f"data_options has no key 'a\\nb'; its keys are {KEYS}"),
        ({"aggregation_options": [10.0]}, "aggregation_options: Input should be a valid dictionary (given: [10.0])"),
        ({"aggregation_options": None}, "aggregation_options: Input should be a valid dictionary (given: None)"),
        (
            {"data_options": {"min_data": "many", "slices": "some"}, "rounds": 0},
            "data_options.slices: Input should be 'newest' or 'all' (given: 'some'); "
            "data_options.min_data: Input should be a valid integer, unable to parse string as an integer "
            "(given: 'many'); rounds: Input should be greater than or equal to 1 (given: 0)",
        ),
        ({"min_data": 0}, "min_data: Input should be greater than or equal to 1 (given: 0)"),
    ],
)
def test_a_wrong_value_is_named_where_it_was_given(values: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec(GOOD | values)

    assert str(caught.value) == said


def test_a_key_of_the_wrong_type_is_never_another_kind_of_error() -> None:
    for field in (field for field in form_of(RunSpec) if field.within):
        with pytest.raises(SpecError, match=rf"^{field.within}\.{field.name}: .* \(given: \[None\]\)$"):
            parse_spec(GOOD | {field.within: {field.name: [None]}})
