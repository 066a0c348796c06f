"""Strategies are found by name, those of other packages too, and wrong parameters are told in one line."""

import sys

import pytest
from support.strategies import FedVariates, install

from fedstream.aggregation.fedadam import FedAdam
from fedstream.aggregation.registry import BUILT_IN, describe, find_strategy, make_strategy, strategy_names
from fedstream.errors import SpecError


@pytest.mark.parametrize("name", BUILT_IN)
def test_each_strategy_says_what_it_is_and_has_usable_defaults(name):
    about = describe(name)
    assert about.summary.endswith(".")
    assert about.paper
    assert about.when.endswith(".")
    assert all(parameter.description and parameter.allowed for parameter in about.parameters)
    assert make_strategy(name, {}).model_dump() == {parameter.name: parameter.default for parameter in about.parameters}


@pytest.mark.parametrize(
    ("name", "config", "said"),
    [
        (
            "FedAdam",
            {"beta_1": 1.5},
            "strategy_config: beta_1 of FedAdam must be a number at least 0 and below 1 (given: 1.5)",
        ),
        (
            "FedAdam",
            {"beta_1": "high"},
            "strategy_config: beta_1 of FedAdam must be a number at least 0 and below 1 (given: 'high')",
        ),
        ("FedAdam", {"tau": 0}, "tau of FedAdam must be a number above 0 and at most 1 (given: 0)"),
        ("FedAdam", {"tau": float("nan")}, "tau of FedAdam must be"),
        (
            "FedAdam",
            {"server_learning_rate": -1},
            "server_learning_rate of FedAdam must be a number above 0 and at most 1000 (given: -1)",
        ),
        (
            "FedAdam",
            {"beta": 0.1},
            "FedAdam has no parameter 'beta' (given: 0.1); it has server_learning_rate, beta_1, beta_2, tau",
        ),
        (
            "FedAdam",
            {"tau": 2, "beta_2": None},
            "beta_2 of FedAdam must be a number at least 0 and below 1 (given: None); strategy_config: tau",
        ),
        (
            "FedTrimmedAvg",
            {"beta": 0.5},
            "beta of FedTrimmedAvg must be a number at least 0 and below 0.5 (given: 0.5)",
        ),
        ("FedTrimmedAvg", {"beta": -0.1}, "beta of FedTrimmedAvg must be"),
        ("FedProx", {"mu": -1}, "mu of FedProx must be a number at least 0 and at most 1000 (given: -1)"),
        ("FedAvg", {"beta": 1}, "FedAvg has no parameter 'beta' (given: 1); it has none"),
        ("FedAvgM", {"momentum": 1}, "momentum of FedAvgM must be a number at least 0 and below 1 (given: 1)"),
        ("FedAvgM", {"nesterov": "often"}, "nesterov of FedAvgM must be true or false (given: 'often')"),
        ("FedAdagrad", {"beta_2": 0.5}, "FedAdagrad has no parameter 'beta_2' (given: 0.5); it has"),
        ("FedYogi", {"tau": -1}, "tau of FedYogi must be a number above 0 and at most 1 (given: -1)"),
        (
            "FedOpt",
            {"optimizer": "lion"},
            "optimizer of FedOpt must be one of 'sgd', 'sgdm', 'adagrad', 'adam', 'yogi' (given: 'lion')",
        ),
        ("FedNova", {"momentum": -0.1}, "momentum of FedNova must be a number at least 0 and below 1 (given: -0.1)"),
        (
            "FedNova",
            {"momentum": 0.9, "mu": 0.1},
            "the parameters of FedNova must be such that momentum or mu is 0, because the paper normalises one or the "
            "other (given: {'momentum': 0.9, 'mu': 0.1})",
        ),
        ("QFedAvg", {"q": -1}, "q of QFedAvg must be a number at least 0 and at most 100 (given: -1)"),
        ("SCAFFOLD", {"server_learning_rate": 0}, "server_learning_rate of SCAFFOLD must be a number above 0 and"),
        ("FedSGD", {}, f"strategy: 'FedSGD' is not known; use one of {', '.join(sorted(BUILT_IN))}"),
        ("", {}, "strategy: '' is not known"),
    ],
)
def test_what_cannot_be_is_told_with_what_is_allowed(name, config, said):
    with pytest.raises(SpecError) as caught:
        make_strategy(name, config)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_strategy_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        FedAdam().tau = 0.5


def test_an_installed_package_offers_a_strategy_that_is_imported_when_it_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(install(tmp_path / "a"))
    monkeypatch.syspath_prepend(install(tmp_path / "b", "broken", "no_such_module:FedLost", "FedLost"))
    assert strategy_names() == sorted([*BUILT_IN, "FedLost", "FedVariates"])
    assert "no_such_module" not in sys.modules
    assert find_strategy("FedVariates") is FedVariates
    assert make_strategy("FedVariates", {"rate": 0.5}).rate == 0.5
    with pytest.raises(
        SpecError,
        match=r"which package 'broken' offers as 'no_such_module:FedLost', cannot be loaded \(ModuleNotFoundError",
    ):
        find_strategy("FedLost")


def test_two_packages_with_one_name_are_both_named(tmp_path, monkeypatch):
    for package in ("one", "two"):
        monkeypatch.syspath_prepend(install(tmp_path / package, package))
    with pytest.raises(SpecError, match="offered by package 'one' and package 'two'; uninstall all but one"):
        find_strategy("FedVariates")


def test_what_is_no_strategy_is_refused(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(install(tmp_path, "odd", "pathlib:Path", "FedPath"))
    with pytest.raises(SpecError, match="'FedPath', which package 'odd' offers as 'pathlib:Path', is not a subclass"):
        find_strategy("FedPath")


def test_a_strategy_without_an_aggregation_is_refused(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(install(tmp_path, "bare", "fedstream.aggregation.strategy:Strategy", "FedBare"))
    with pytest.raises(SpecError, match=r"'FedBare', .* does not define aggregate\(\)"):
        find_strategy("FedBare")


def test_nobody_replaces_a_built_in_strategy(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(install(tmp_path, name="FedAdam"))
    assert find_strategy("FedAdam") is FedAdam
    assert strategy_names().count("FedAdam") == 1
