"""Round 0 of the compiled pipeline gathers statistics, as that of a run in this process does."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

from support.wards import COLUMNS, SPEC, ward

from fedstream.audit import verify_run
from fedstream.catalog.models import add_model
from fedstream.model.numpy_learner import SoftmaxModel
from fedstream.store.objects import ObjectStore
from fedstream.store.state import RunState
from fedstream.stream.broker import EnvironmentBrokers
from fedstream.stream.send import send_dataset

OPTIONS = {"features": COLUMNS, "allow_nan": True}


def test_both_runners_gather_the_same_statistics(platform: Any, platform_env: Any, cli: Callable[..., Any]) -> None:
    name, store = f"s{uuid.uuid4().hex[:6]}", ObjectStore.from_env()
    clients = [f"{name}-{client}" for client in ("north", "south")]
    for client in clients:
        send_dataset(platform.kafka, client, client, *ward(client.rpartition("-")[2]), **OPTIONS)
    evaluation = f"{name}-evaluation"
    send_dataset(platform.kafka, evaluation, evaluation, *ward("tiny"), **OPTIONS)
    add_model(store, name, SoftmaxModel(input_shape=[5], classes=2).to_bytes())
    words = ["--model", name, "--clients", ",".join(clients), "--evaluation-topic", evaluation, "--rounds", "1"]
    words += ["--preprocessing", json.dumps(SPEC["preprocessing"]), "--json"]

    for runner in ("kfp", "inprocess"):
        done = cli("run", "--name", f"{name}-{runner}", *words, "--runner", runner)
        assert done.code == 0, done
        assert json.loads(done.out)["version"] > 0

    compiled, inprocess = (RunState(store, f"{name}-{runner}") for runner in ("kfp", "inprocess"))
    assert compiled.statistics is not None
    assert inprocess.statistics is not None
    assert compiled.statistics.features == inprocess.statistics.features
    assert [commit.weights_digest for commit in compiled.ledger.commits()] == [
        commit.weights_digest for commit in inprocess.ledger.commits()
    ]
    assert verify_run(store, compiled.run, brokers=EnvironmentBrokers()).ok
    shown = cli("statistics", compiled.run)
    assert "glucose" in shown.out
