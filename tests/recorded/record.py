"""Record the runs of this folder anew: `PYTHONPATH=tests .venv/bin/python -m recorded.record`.

Only a new object layout is a reason to do so.

    federated/   three clients, federated evaluation; `c` refuses in round 2, round 2 is rolled back,
                 round 4 trains again, round 5 measures
    evaluated/   the same clients, measured on an evaluation topic

Each folder holds the objects of a run and of its model by their keys. streams.py has the records, so that a run can go
on.
"""

import os
import shutil
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from recorded.streams import CLIENTS, EVALUATION, send_streams

from fedstream import steps
from fedstream.catalog.models import add_model
from fedstream.local.inprocess import run_inprocess, run_round
from fedstream.local.platform import Platform
from fedstream.model import keras, save_keras
from fedstream.settings import StoreSettings
from fedstream.steps.rollback import rollback
from fedstream.store.objects import ObjectStore
from fedstream.store.state import RunState

HERE = Path(__file__).parent
RUN, MODEL = "recorded", "triage"


def main():
    with TemporaryDirectory() as folder, Platform(Path(folder)) as platform:
        os.environ.update(platform.env)
        send_streams(platform.kafka_settings)
        for name, record in {"federated": federated, "evaluated": evaluated}.items():
            os.environ["S3_PREFIX"] = f"{name}/"
            store = ObjectStore(replace(StoreSettings.from_env(), prefix=f"{name}/"))
            add_model(store, MODEL, save_keras(build()))
            record(RunState(store, RUN))
            keep(store, HERE / name)


def build():
    keras.utils.set_random_seed(7)
    model = keras.Sequential(
        [keras.Input((4,), name="record"), keras.layers.Dense(3, activation="softmax", name="classes")], name="triage"
    )
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def spec(**fields):
    return {
        "run": RUN,
        "model": MODEL,
        "purpose": "Tell three kinds of record apart.",
        "clients": CLIENTS,
        "batch_size": 8,
        "seed": 3,
        **fields,
    }


def federated(state):
    values = spec(rounds=2, min_clients=2, validation_rate=0.25)
    steps.plan_training(values, 10**9)
    run_round(RUN, 1, 2, "first")
    refuse_in_round_2()
    rollback(state, 1)
    assert run_inprocess(values) == 1


def refuse_in_round_2():
    """Run round 2 with a client that cannot be trained."""
    real = steps.local_train
    steps.local_train = lambda run, round, client, key, attempt: (
        "" if client == "c" else real(run, round, client, key, attempt)
    )
    try:
        run_round(RUN, 2, 2, "second")
    finally:
        steps.local_train = real


def evaluated(state):
    assert run_inprocess(spec(rounds=2, evaluation_topic=EVALUATION, publish="if-better")) == 1


def keep(store, folder):
    shutil.rmtree(folder, ignore_errors=True)
    for info in [*store.list("runs/"), *store.list("models/")]:
        path = folder / info.key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(store.get(info.key))


if __name__ == "__main__":
    main()
