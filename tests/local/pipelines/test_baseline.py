"""Each client trained alone, for comparison: it is in the first manifest and in the report,
and changes nothing else.
"""

import logging

import pytest
from support.data import send_clients

from fedstream.local.inprocess import run_inprocess
from fedstream.report.html import render_report
from fedstream.report.tables import alone_rows
from fedstream.report.view import build_view
from fedstream.steps import ingest_from_kafka, local_train, open_round, plan_training, select_clients
from fedstream.steps.context import Context
from fedstream.store.objects import ObjectStore

BUDGET = 10**9


@pytest.fixture
def owners(platform, platform_env):
    return send_clients(platform.kafka)


def spec(owners, **fields):
    return {"model": "builtin:digits-mlp", "clients": owners, "rounds": 2, "validation_rate": 0.3, **fields}


def test_a_baseline_is_measured_once_and_leaves_every_digest_as_it_is(owners):
    for run, baseline in (("without", False), ("with", True)):
        run_inprocess(spec(owners, run=run, baseline=baseline), BUDGET)
    without, compared = (Context.from_env().run(run) for run in ("without", "with"))
    for before, after in zip(without.ledger.commits(), compared.ledger.commits(), strict=True):
        assert after.weights_digest == before.weights_digest
        assert [entry.update_digest for entry in after.clients] == [entry.update_digest for entry in before.clients]
        assert after.metrics == before.metrics
    for client in owners:
        assert without.manifest(1, client).alone is None
        assert [compared.manifest(number, client).alone is None for number in (1, 2, 3)] == [False, True, True]
        alone, received = compared.manifest(1, client).alone, compared.manifest(3, client).incoming
        assert alone.num_examples == received.num_examples

    view = build_view(ObjectStore.from_env(), "with")
    rows = alone_rows(view)
    assert [(row.client, row.model_round) for row in rows] == [(client, 2) for client in owners]
    for row in rows:
        assert row.alone == compared.manifest(1, row.client).alone.values["accuracy"]
        assert row.together == compared.manifest(3, row.client).incoming.values["accuracy"]
        assert row.gain == row.together - row.alone
    page = render_report(view)
    assert "Is it better than training alone?" in page
    assert "better at" in page


def test_a_baseline_that_passes_the_deadline_is_left_out_and_the_client_takes_part(owners, caplog):
    plan_training(spec(owners, run="late", baseline=True, rounds=10_000, epochs=1, round_deadline_s=12), BUDGET)
    number, client = open_round("late", 10_000, "once", 0)[0], owners[0]
    select_clients("late", number, 10_000)
    key = ingest_from_kafka("late", number, client, "once").slice_key
    with caplog.at_level(logging.WARNING, logger="fedstream.run"):
        assert "trained on" in local_train("late", number, client, key, "once")
    assert (
        f"{client} takes part, but has no baseline for the report: training passed the round's deadline" in caplog.text
    )
    manifest = Context.from_env().run("late").manifest(number, client)
    assert manifest.alone is None
    assert manifest.update_digest
    assert "had already finished" in local_train("late", number, client, key, "once")
