"""RunSpec at the door, selection and seeds."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedstream.errors import SpecError
from fedstream.record.operational import operational as values_of
from fedstream.record.placement import Placement
from fedstream.record.selection import client_seed, select
from fedstream.record.spec import RunSpec, carried_out, changed_field, parse_spec

GOOD = {"run": "r", "model": "builtin:digits-mlp"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"run": "a b"}, "run: use letters"),
        ({"run": "../x"}, "run: use letters"),
        ({"run": ""}, "run: use letters"),
        ({"run": "x" * 64}, "run: use letters"),
        ({"model": "a'b"}, "model: use letters"),
        ({"rounds": 0}, "rounds: Input should be greater than or equal to 1 (given: 0)"),
        ({"rounds": 1.5}, "rounds: "),
        ({"epochs": 0}, "epochs: "),
        ({"batch_size": -1}, "batch_size: "),
        ({"learning_rate": math.nan}, "learning_rate: Input should be a finite number (given: nan)"),
        ({"learning_rate": math.inf}, "learning_rate: "),
        ({"learning_rate": -0.1}, "learning_rate: "),
        ({"strategy": 7}, "strategy: Input should be a valid string (given: 7)"),
        ({"strategy_config": [1]}, "strategy_config: Input should be a valid dictionary (given: [1])"),
        ({"strategy_config": "x"}, "strategy_config: Input should be a valid dictionary (given: 'x')"),
        ({"client_fraction": 0}, "client_fraction: "),
        ({"client_fraction": 1.1}, "client_fraction: "),
        ({"min_clients": -1}, "min_clients: "),
        ({"validation_rate": 1}, "validation_rate: "),
        ({"round_deadline_s": 0}, "round_deadline_s: "),
        ({"clients": ["a", "a"]}, "clients: client 'a' is named twice"),
        ({"clients": ["a"], "min_clients": 2}, "min_clients is 2, but only 1 clients are named"),
        ({"clients": ["a"], "sites": {"b": {}}}, "sites names 'b'"),
        ({"placement": {"gpu_type": "nvidia.com/gpu"}}, "placement: gpu_type is 'nvidia.com/gpu' and gpu_count is 0"),
        (
            {"placement": {"gpu_memory_mib": -1}},
            "placement.gpu_memory_mib: Input should be greater than or equal to 0 (given: -1)",
        ),
        ({"mixed_precision": "half"}, "mixed_precision: Input should be a valid boolean"),
        ({"sites": {"a": {"brokers": "x"}}}, "sites.a.brokers: Extra inputs are not permitted"),
        ({"colour": "red"}, "colour: Extra inputs are not permitted"),
    ],
)
def test_a_wrong_field_is_named(change, said):
    with pytest.raises(SpecError) as caught:
        parse_spec({**GOOD, **change})
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_fields_are_named():
    with pytest.raises(SpecError, match=r"run: Field required; model: Field required"):
        parse_spec({})


def test_only_the_round_budget_may_grow():
    old = parse_spec({**GOOD, "rounds": 3})
    assert changed_field(old, parse_spec({**GOOD, "rounds": 5})) == ""
    assert changed_field(old, parse_spec({**GOOD, "rounds": 2})) == "rounds was 3 and is now 2 (it may only grow)"
    assert changed_field(old, parse_spec({**GOOD, "rounds": 3, "epochs": 2})) == "epochs was 1 and is now 2"


GPU = {"gpu_type": "nvidia.com/gpu", "gpu_count": 1}


@pytest.mark.parametrize(
    "operational",
    [
        {"round_deadline_s": 5},
        {"placement": GPU},
        {"placement": {"gpu_memory_mib": 4096, "cpu_fallback": True}},
        {"sites": {"a": {"bootstrap_servers": "x:1", "placement": GPU, "store_secret": "key"}}},
        {"sites": {"a": {"bootstrap_servers": "x:1"}, "b": {"store_secret": "key"}}},
    ],
)
def test_operational_values_may_change_and_be_applied_again(operational):
    old = parse_spec({**GOOD, "epochs": 3, "sites": {"a": {"bootstrap_servers": "x:1"}}})
    new = parse_spec({**GOOD, "epochs": 3, "sites": {"a": {"bootstrap_servers": "x:1"}}, **operational})
    assert changed_field(old, new) == changed_field(new, old) == ""
    assert carried_out(old, values_of(new)) == new
    assert carried_out(new, values_of(old)) == old


def test_a_site_s_brokers_are_part_of_the_run():
    old, new = (
        parse_spec(GOOD),
        parse_spec({**GOOD, "sites": {"a": {"bootstrap_servers": "x:1", "store_secret": "key"}}}),
    )
    assert changed_field(old, new) == "sites was {} and is now {'a': {'bootstrap_servers': 'x:1'}}"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"epochs": 2}, "it changes epochs beyond what is operational"),
        ({"round_deadline_s": -1}, "round_deadline_s: Input should be greater than 0"),
        ({"sites": {"stranger": {"store_secret": "key"}}}, "sites names 'stranger'"),
        ({"sites": 3}, "sites: Input should be a valid dictionary"),
    ],
)
def test_what_is_no_operational_value_is_named(values, said):
    with pytest.raises(SpecError, match=re.escape(said)):
        carried_out(parse_spec({**GOOD, "clients": ["a"]}), values)


def test_a_spec_from_before_gpus_belonged_to_placements_is_read():
    older = {
        **GOOD,
        "cpu_fallback": True,
        "gpu_memory_mib": 4096,
        "placement": GPU,
        "sites": {"a": {"placement": GPU}, "b": {}},
    }
    spec = parse_spec(older)
    assert all(
        spec.placement_of(client) == Placement(**GPU, gpu_memory_mib=4096, cpu_fallback=True) for client in "abc"
    )
    assert parse_spec({**older, "placement": {**GPU, "cpu_fallback": False}}).placement.cpu_fallback is False
    assert spec.sites["b"].placement is None


def test_selection_is_a_pure_function_of_seed_and_round():
    clients = [f"c{number}" for number in range(20)]
    spec = RunSpec(**GOOD, client_fraction=0.25, seed=3)
    assert select(spec, 1, clients) == select(spec, 1, list(reversed(clients)))
    rounds = [tuple(select(spec, number, clients)) for number in range(1, 40)]
    assert all(len(chosen) == 5 and list(chosen) == sorted(chosen) for chosen in rounds)
    assert len(set(rounds)) > 30
    assert {client for chosen in rounds for client in chosen} == set(clients)


@given(st.integers(1, 50), st.floats(0.01, 1), st.integers(1, 50))
def test_at_least_the_quorum_is_asked(count, fraction, quorum):
    clients = [f"c{number}" for number in range(count)]
    chosen = select(RunSpec(**GOOD, client_fraction=fraction, min_clients=quorum), 1, clients)
    assert len(chosen) >= min(quorum, count)
    assert set(chosen) <= set(clients)


def test_seeds_differ_by_run_seed_round_and_client():
    seeds = {client_seed(seed, round, client) for seed in (0, 1) for round in (1, 2) for client in ("a", "b")}
    assert len(seeds) == 8
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_a_private_run_gathers_no_statistics():
    privacy = {"where": "local", "noise_multiplier": 1, "delta": 1e-5, "max_epsilon": 8}
    for fields in ({"statistics": {"gather": True}}, {"preprocessing": {"steps": [{"step": "standardise"}]}}):
        with pytest.raises(SpecError, match="a run with `privacy` gathers no statistics"):
            parse_spec({"run": "r", "model": "m", "privacy": privacy, **fields})


def test_preprocessing_and_statistics_are_not_written_while_they_have_only_defaults():
    plain = parse_spec({"run": "r", "model": "m"})
    assert not {"preprocessing", "statistics"} & plain.model_dump(mode="json").keys()
    changed = parse_spec({"run": "r", "model": "m", "statistics": {"gather": True}})
    assert changed_field(plain, changed).startswith("statistics was {'gather': False")
