"""Whole runs with robust strategies and with clipping, in memory: learnt, continued, verified, and on record."""

from __future__ import annotations

from typing import Any

import pytest
from support.in_memory import SPEC, send

from fedstream.audit import verify_run
from fedstream.errors import SpecError
from fedstream.local.inprocess import run_inprocess
from fedstream.report.html import render_report
from fedstream.report.view import build_view
from fedstream.steps.context import Context

CLIENTS = [f"c{number}" for number in range(7)]
SEVEN = SPEC | {"min_clients": 7, "rounds": 2}
CLIPPING = {"norm": 0.5, "quantile": 0.5, "zero_above": 5.0}


@pytest.fixture
def context() -> Context:
    context = Context.in_memory()
    send(context, *CLIENTS)
    return context


def chain(context: Context) -> list[Any]:
    commits = context.run("first").ledger.commits()
    return [(commit.weights_digest, commit.server_state_digest, commit.figures) for commit in commits]


@pytest.mark.parametrize("strategy", ["FedMedian", "FedTrimmedAvg", "Krum", "MultiKrum", "Bulyan", "GeometricMedian"])
def test_a_run_learns_and_is_verified_bit_for_bit(context: Context, strategy: str) -> None:
    assert run_inprocess(SEVEN | {"strategy": strategy}, context=context) == 1
    measured = [commit.metrics.values["accuracy"] for commit in context.run("first").ledger.commits() if commit.metrics]
    assert measured[-1] > 0.6
    audit = verify_run(context.store, "first")
    assert audit.ok, audit.problems


def test_a_run_with_adaptive_clipping_continues_as_if_it_had_never_stopped(context: Context) -> None:
    spec = SEVEN | {"strategy": "FedAdam", "clipping": CLIPPING}
    run_inprocess(spec | {"rounds": 1}, context=context)
    run_inprocess(spec, context=context)
    undisturbed = Context.in_memory()
    send(undisturbed, *CLIENTS)
    run_inprocess(spec, context=undisturbed)
    stopped, whole = chain(context), chain(undisturbed)
    assert stopped[1] == whole[1]
    assert stopped[-2][2]["clipping_norm"] == whole[2][2]["clipping_norm"] < 0.5 * 1.2
    assert whole[2][1] not in (None, whole[1][1]), "the norm and FedAdam's moments"
    assert verify_run(context.store, "first").ok


def test_clipped_clients_stand_in_the_commit_and_in_the_report(context: Context) -> None:
    run_inprocess(SEVEN | {"clipping": {"norm": 0.01, "zero_above": 5.0}}, context=context)
    figures = context.run("first").ledger.commit(1).figures
    assert figures == {"clipping_norm": 0.01, "clipped": ", ".join(CLIENTS), "zeroed": "none"}
    page = render_report(build_view(context.store, "first"))
    assert ", ".join(CLIENTS) in page
    assert "clipping_norm" in page


def test_another_clipping_is_another_run(context: Context) -> None:
    run_inprocess(SEVEN, context=context)
    with pytest.raises(SpecError, match=r"clipping was {.*'norm': 0.0.*} and is now {.*'norm': 1.0"):
        run_inprocess(SEVEN | {"clipping": {"norm": 1.0}}, context=context)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            {"strategy": "Bulyan", "strategy_config": {"byzantine": 2}},
            "strategy Bulyan with byzantine 2 needs 11 updates, but a round asks 7 clients and its quorum is 7; "
            "raise min_clients, or use other parameters",
        ),
        (
            {"strategy": "Krum", "min_clients": 4},
            "strategy Krum with byzantine 1 needs 5 updates, but a round asks 7 clients and its quorum is 4",
        ),
        ({"strategy": "MultiKrum", "strategy_config": {"keep": 8}}, "byzantine 1, keep 8 needs 8 updates, but a round"),
        ({"strategy": "Krum", "strategy_config": {"byzantine": -1}}, "byzantine of Krum must be a whole number"),
        ({"clipping": {"quantile": 0.5}}, "clipping: quantile is 0.5 and norm is 0; set norm to the first norm"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_on_record(
    context: Context, values: dict[str, Any], said: str
) -> None:
    with pytest.raises(SpecError) as caught:
        run_inprocess(SEVEN | values, context=context)
    assert said in str(caught.value)
    assert not context.store.list("runs/")
