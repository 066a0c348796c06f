"""Whether a run that is under way has the values of the one that is to be submitted, however they were written."""

import json
from dataclasses import replace

import pytest

from fedstream.errors import UsageError
from fedstream.kubeflow.package import read_package, shipped_pipeline
from fedstream.kubeflow.values import difference, form_values
from fedstream.record.spec import parse_spec

PACKAGE = read_package(shipped_pipeline())
GPU = {"node_selector": {"site": "a"}, "gpu_type": "nvidia.com/gpu", "gpu_count": 1}
WANTED = {
    "run": "first",
    "model": "builtin:digits-mlp",
    "clients": ["a", "b"],
    "rounds": 3,
    "sites": {"a": {"placement": GPU}},
}


def wanted(given=None, **changed):
    return form_values(parse_spec(WANTED | changed), given or {}, PACKAGE)


FORM = {
    "run": "first",
    "model": "builtin:digits-mlp",
    "clients": ["b", "a"],
    "rounds": 3.0,
    "data_options": {"min_data": 1.0},
    "placement": {},
    "sites": {"a": {"placement": {**GPU, "gpu_count": 1.0}}},
}
"""What the form of the Kubeflow UI hands over: of each document what was written there,
and numbers as JSON has them.
"""

TYPED = FORM | {
    "clients": '["a", "b"]',
    "rounds": "3",
    "data_options": '{"own_topics": "false"}',
    "sites": json.dumps({"a": {"placement": GPU}}),
}


@pytest.mark.parametrize("running", [FORM, TYPED, wanted()], ids=["form", "texts", "command"])
def test_what_means_the_same_is_the_same(running):
    assert difference(running, wanted(), PACKAGE) == ""
    assert difference(running, wanted({"node_budget": 1200, "memory": "4Gi"}), PACKAGE) == ""


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"rounds": 5}, "a different value for rounds (3, now 5)"),
        ({"min_data": 7}, "a different value for data_options.min_data (1, now 7)"),
        (
            {"sites": {"a": {"placement": GPU | {"gpu_count": 2}}}},
            "a different value for sites.a.placement.gpu_count (1, now 2)",
        ),
        (
            {"sites": {"a": {"placement": GPU | {"node_selector": {"site": "b"}}}}},
            "a different value for sites.a.placement.node_selector.site ('a', now 'b')",
        ),
        ({"sites": {}}, "a different value for sites.a ({"),
        (
            {"placement": {"node_selector": {"rack": "1"}}},
            "a different value for placement.node_selector.rack (None, now '1')",
        ),
    ],
)
@pytest.mark.parametrize("running", [FORM, TYPED], ids=["form", "texts"])
def test_the_field_that_really_differs_is_named(running, changed, said):
    assert difference(running, wanted(**changed), PACKAGE).startswith(said)


def test_values_beside_the_run_are_compared_by_their_type():
    assert difference(FORM | {"node_budget": "900"}, wanted({"node_budget": 900}), PACKAGE) == ""
    assert (
        difference(FORM | {"node_budget": "900"}, wanted({"node_budget": 800}), PACKAGE)
        == "a different value for node_budget (900, now 800)"
    )
    assert difference(FORM | {"store_secret": "other"}, wanted(), PACKAGE) == "", (
        "what the command does not give may be whatever it is"
    )


def test_parameters_of_a_strategy_that_are_left_out_are_its_defaults():
    adam = {"strategy": "FedAdam", "strategy_config": {}}
    spelled = {"strategy": "FedAdam", "strategy_config": {"beta_1": 0.9, "tau": 0.001}}
    assert difference(FORM | adam, wanted(**spelled), PACKAGE) == ""
    assert "a different value for strategy_config.beta_1 (0.9, now 0.5)" in difference(
        FORM | adam, wanted(**adam | {"strategy_config": {"beta_1": 0.5}}), PACKAGE
    )


def test_values_that_are_no_run_s_are_told():
    assert "values that this version of fedstream does not accept (rounds:" in difference(
        FORM | {"rounds": "many"}, wanted(), PACKAGE
    )


def test_a_pipeline_without_the_parameter_of_a_value_is_told_unless_it_is_the_default():
    older = replace(PACKAGE, parameters=PACKAGE.parameters.keys() - {"data_options", "purpose"})
    assert form_values(parse_spec(WANTED), {}, older).keys() == wanted().keys() - {"data_options", "purpose"}
    for changed, said in (
        ({"min_data": 7}, "has no parameter 'data_options' for min_data; omit it, or pass another --package-file"),
        ({"purpose": "to see"}, "has no parameter 'purpose'; omit it, or pass another --package-file"),
    ):
        with pytest.raises(UsageError, match=said):
            form_values(parse_spec(WANTED | changed), {}, older)
