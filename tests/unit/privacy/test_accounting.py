"""What private runs spend."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.entries import entry_of

from fedstream.privacy.accounting import epsilon, spent, why_exhausted, within_budget
from fedstream.record.commit import Commit, Decision
from fedstream.record.privacy import Privacy
from fedstream.record.run import RunRecord

CONTINUE = Decision(action="continue", reason="")


def central(multiplier: float, delta: float = 1e-5, max_epsilon: float = 8.0) -> Privacy:
    return Privacy(where="central", noise_multiplier=multiplier, delta=delta, max_epsilon=max_epsilon)


def test_the_figure_of_a_published_setting() -> None:
    """Google's first production model with a formal guarantee: rho = 0.81 is epsilon = 8.9 at delta = 1e-10.

    Thakurta and McMahan 2022, "Federated learning with formal differential privacy guarantees"; Xu et al. 2023,
    arXiv 2305.18465. A Gaussian mechanism of multiplier z has rho = 1 / (2 z^2) (Bun and Steinke 2016, proposition
    1.6), and the rho of rounds add up (lemma 2.3).
    """
    for rounds in (1, 100, 2000):
        assert epsilon(central(math.sqrt(rounds / (2 * 0.81)), 1e-10), rounds) == pytest.approx(8.9, abs=0.05)


def exact_delta(multiplier: float, rounds: int, epsilon: float) -> float:
    """Return the smallest delta (Balle and Wang 2018, arXiv 1805.06530, theorem 8).

    Rounds compose into one of multiplier z / sqrt(rounds) (Dong, Roth and Su 2019, arXiv 1905.02383, corollary 3.3).
    """
    mu = math.sqrt(rounds) / multiplier

    def below(value: float) -> float:
        return 0.5 * math.erfc(-value / math.sqrt(2))

    return below(mu / 2 - epsilon / mu) - math.exp(epsilon) * below(-mu / 2 - epsilon / mu)


@given(st.floats(0.5, 20), st.integers(1, 500))
@settings(max_examples=50, deadline=None)
def test_the_figure_bounds_the_exact_one_closely(multiplier: float, rounds: int) -> None:
    figure = epsilon(central(multiplier), rounds)
    if figure < 50:
        assert exact_delta(multiplier, rounds, figure) <= 1e-5
        assert exact_delta(multiplier, rounds, 0.8 * figure - 0.1) > 1e-5


def test_local_noise_protects_any_records_against_any_others() -> None:
    local = Privacy(where="local", noise_multiplier=2.0, delta=1e-5, max_epsilon=8.0)
    assert epsilon(local, 7) == epsilon(central(1.0), 7)


def test_no_round_costs_nothing() -> None:
    assert epsilon(central(1.0), 0) == 0
    assert spent(central(1.0), []) == 0


def commit(round: int, *clients: str, kind: str = "training") -> Commit:
    entries = [entry_of(client, False, "no update arrived") for client in clients]
    digest = "0" * 64
    return Commit(
        run="a",
        round=round,
        kind=kind,
        parent=digest,
        base_digest=digest,
        weights_digest=digest,
        clients=entries,
        restores=0 if kind == "rollback" else None,
        decision=CONTINUE,
        code_version="0",
    )


def test_a_round_costs_the_clients_that_it_asked() -> None:
    """Client a was asked 3 times; whether its update counted does not matter."""
    commits = [commit(0, kind="initial"), commit(1, "a", "b"), commit(2, "a", "c"), commit(3, "a", "b")]
    assert spent(central(1.0), commits) == epsilon(central(1.0), 3)
    assert spent(central(1.0), commits, ["b", "c"]) == epsilon(central(1.0), 3)
    assert spent(central(1.0), commits, ["a"]) == epsilon(central(1.0), 4)


def test_rounds_that_were_undone_count_and_those_that_only_measure_do_not() -> None:
    commits = [commit(0, kind="initial"), commit(1, "a"), commit(2, kind="rollback"), commit(3, "a")]
    assert spent(central(1.0), [*commits, commit(4, "a", kind="closing")]) == epsilon(central(1.0), 2)


def record(privacy: Privacy) -> RunRecord:
    digest = "0" * 64
    client = {"bootstrap_servers": "", "ranges": "t:0:0:1", "input_config": {}, "held_out_rate": 0, "records": 1}
    return RunRecord.model_validate(
        {
            "spec": {"run": "a", "model": "m", "privacy": privacy.model_dump()},
            "model": {"name": "m", "keras_digest": digest, "weights_digest": digest, "description_digest": digest},
            "clients": [client | {"client": name} for name in ("a", "b")],
            "evaluation": None,
            "announcements": [],
        }
    )


def test_the_run_stops_before_the_round_that_exceeds_the_budget() -> None:
    commits = [commit(0, kind="initial"), commit(1, "a", "b"), commit(2, "a", "b")]
    two, three = epsilon(central(1.0), 2), epsilon(central(1.0), 3)
    enough, short = record(central(1.0, max_epsilon=three)), record(central(1.0, max_epsilon=three - 1e-6))
    assert within_budget(enough, commits, CONTINUE) == CONTINUE
    stopped = within_budget(short, commits, CONTINUE)
    assert stopped.action == "stop"
    assert stopped.reason == (
        f"privacy budget: epsilon {two:.4g} is spent, another round would make it {three:.4g}, "
        f"and max_epsilon is {three - 1e-6:g}"
    )


def test_another_reason_to_stop_stays_the_reason() -> None:
    target = Decision(action="stop", reason="target reached")
    assert within_budget(record(central(1.0, max_epsilon=1.0)), [commit(0, kind="initial")], target) == target


def test_a_run_without_noise_has_no_budget() -> None:
    assert why_exhausted(record(Privacy()), [commit(0, kind="initial")] + [commit(n, "a") for n in range(1, 999)]) == ""
