"""The functions of `import fedstream`, for notebooks and scripts.

They cover everything from the first record to a prediction. Each function is thin: it connects to the Kafka and the
store that the environment names, as the command line does, and calls the code that does the work. Only `simulate` needs
neither.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedstream.errors import UsageError

if TYPE_CHECKING:
    import pandas
    from numpy.typing import NDArray
    from rich.console import Console

    from fedstream.model._tensorflow import KerasModel
    from fedstream.record.attendance import Absence
    from fedstream.record.description import ModelDescription
    from fedstream.store.store import Store
    from fedstream.stream.announcement import DataAnnouncement


@dataclass(frozen=True)
class RunResult:
    """The result of a run.

    Attributes:
        run: Name of the run.
        model: Name of the model that the run started from.
        finished: Whether all rounds of the run are done.
        version: Published version; 0 for none.
        reason: Why no version was published.
        rounds: Number of training rounds done.
        metrics: Metrics of the best global model if it is published, or else of the global model measured last.
        weights_digest: SHA-256 of the weights of the published model, or else of the last global model.
        absent: Clients that did not take part in every round, and why.
    """

    run: str
    model: str
    finished: bool
    version: int
    reason: str
    rounds: int
    metrics: dict[str, float]
    weights_digest: str
    absent: list[Absence]


@dataclass(frozen=True)
class SimulationResult(RunResult):
    """The result of a simulation.

    Attributes:
        store: Store of the run, for `fedstream.history(result.run, result.store)` and `fedstream.show_report`. Passed
            to another simulation, it also provides the model.
    """

    store: Store


def send(
    data: pandas.DataFrame | NDArray[Any],
    labels: str | NDArray[Any] | pandas.Series,
    *,
    client: str,
    topic: str = "",
    **options: Any,
) -> DataAnnouncement:
    """Send a data owner's records to Kafka, wait until all are stored, and announce their exact offsets.

        fedstream.send(frame, "diagnosis", client="north")

    Args:
        data: A DataFrame, whose columns except the labels are the samples, or an array of samples, shape (n, ...).
        labels: Name of the DataFrame's column of labels, or n labels.
        client: Name of the data owner.
        topic: Topic of the records; by default, the name of the client.
        options: Other arguments of `fedstream.stream.send.send_dataset`, such as validation_rate.

    Raises:
        UsageError: The records cannot be announced; nothing is sent.
        BrokerError: The broker did not accept the records; nothing is announced.
    """
    from fedstream.settings import KafkaSettings
    from fedstream.stream.send import send_dataset

    x, y, features = to_arrays(data, labels)
    if features:
        options = {"features": features} | options
    return send_dataset(KafkaSettings.from_env(), topic or client, client, x, y, **options)


def to_arrays(data: Any, labels: Any) -> tuple[NDArray[Any], NDArray[Any], list[str]]:
    """Return the samples, the labels, and the names of the columns, which are empty if the data is not a DataFrame.

    The samples of a DataFrame are float32, so that the samples of all data owners have the same format. Its index is
    ignored.

    Raises:
        UsageError: The column of labels does not exist, or another column is not numeric.
    """
    import numpy as np

    if not hasattr(data, "columns"):
        return np.asarray(data), np.asarray(labels), []
    if isinstance(labels, str):
        if labels not in data.columns:
            raise UsageError(f"there is no column {labels!r}; there are {', '.join(map(str, data.columns))}")
        data, labels = data.drop(columns=labels), data[labels]
    if wrong := [name for name in data.columns if data[name].dtype.kind not in "biuf"]:
        raise UsageError(
            f"column {str(wrong[0])!r} has type {data[wrong[0]].dtype}, which is not numeric; encode it, "
            "drop it, or use it as the labels"
        )
    return data.to_numpy(np.float32), np.asarray(labels), [str(name) for name in data.columns]


def add_model(
    model: str | Path | Sequence[str | Path] | KerasModel,
    name: str,
    lora_rank: int | None = None,
    lora_layers: str = "*",
) -> ModelDescription:
    """Add a compiled model that new runs can start from, and return its description.

        fedstream.add_model(model, "mine")

    Args:
        model: A compiled keras.Model, the path of a .keras file, or a `package.module:function` that returns a model.
            Several are sub-models of a chain, in this order; see docs/training-modes.md.
        name: Name by which runs refer to the model. New runs use the model that was added last under this name.
        lora_rank: Rank of LoRA adapters to train in place of the model's kernels; None for no adapters.
        lora_layers: Glob pattern of the layers that have adapters; by default, all that support LoRA.

    Raises:
        UsageError: The name or the rank is invalid, or the model is not found.
        ModelError: The model cannot be trained here, or no layer can have an adapter; the message says why.
    """
    from fedstream.catalog import models
    from fedstream.catalog.additions import check_name
    from fedstream.model.files import save_keras
    from fedstream.model.source import read_models, with_lora
    from fedstream.store.objects import ObjectStore

    check_name(name)
    parts = [model] if isinstance(model, str | Path) else model
    data = read_models([str(part) for part in parts]) if isinstance(parts, Sequence) else save_keras(parts)
    if lora_rank is not None:
        data = with_lora(data, lora_rank, lora_layers)
    return models.add_model(ObjectStore.from_env(), name, data)


def run(name: str, *, model: str, progress: bool = True, **fields: Any) -> RunResult:
    """Run a federated training in this process, or continue one, until its model is published.

        fedstream.run("first", model="mine", clients=["north", "south"], rounds=5)

    The steps and their digests are the same as those of the pipeline in Kubeflow. A call with the same name and values
    continues the run where it stopped.

    Args:
        name: Name of the run.
        model: Name of an added model, or of a built-in one such as `builtin:digits-mlp`.
        progress: Whether to print a line for each round, and for each client that did not take part.
        fields: Other fields of `fedstream.record.spec.RunSpec`, such as rounds, epochs or evaluation_topic.
            `fedstream run --help` describes them.

    Raises:
        FedstreamError: The run failed for any reason; it can be started again.
    """
    from fedstream.cli.watch import watching
    from fedstream.local.inprocess import NO_BUDGET
    from fedstream.local.runs import run as run_locally

    console = _console(progress)
    outcome = run_locally({"run": name, "model": model, **fields}, "inprocess", NO_BUDGET, None, watching(console))
    return RunResult(**_told(outcome, console))


def simulate(
    data: pandas.DataFrame | NDArray[Any],
    labels: str | NDArray[Any] | pandas.Series,
    *,
    model: Any,
    clients: int = 10,
    partition: str = "iid",
    test: tuple[Any, Any] | None = None,
    attack: str = "",
    attackers: int = 0,
    name: str = "simulation",
    store: Store | str | Path | None = None,
    progress: bool = True,
    **fields: Any,
) -> SimulationResult:
    """Run a federated training of virtual clients in this process, without any server.

        fedstream.simulate(x, y, model="builtin:digits-mlp", clients=100, partition="dirichlet:0.1", rounds=20)

    The steps, the strategies and the ledger are those of a real run. The records stay in memory.

    Args:
        data: See `send`.
        labels: See `send`.
        model: Name of a built-in model or of one in the store, or a model as for `add_model`.
        clients: Number of clients.
        partition: How the records are divided: `iid`; `shards:K` for K shards of the sorted labels per client;
            `dirichlet:ALPHA`; or `column:NAME` for a column of the DataFrame whose values are the clients.
        test: Data and labels that measure every global model; None to measure on what the clients hold out.
        attack: What attackers do, such as `signflip` or `scaled:20`; docs/simulate.md lists the attacks.
        attackers: Number of clients that attack.
        name: Name of the run.
        store: A store, or a folder that keeps the run, so that a later call continues it; None to keep it in memory.
        progress: See `run`.
        fields: Other fields of `fedstream.record.spec.RunSpec`, such as rounds, epochs, strategy or seed.

    Raises:
        UsageError: A value does not fit the records, or the run is in the store with other values.
        FedstreamError: The run failed for any reason.
    """
    from fedstream.cli.watch import watching
    from fedstream.simulation.federation import COLUMN, Setting
    from fedstream.simulation.simulate import added
    from fedstream.simulation.simulate import simulate as run_simulation
    from fedstream.simulation.source import source_of
    from fedstream.store.disk import DiskStore
    from fedstream.store.memory import MemoryStore

    columns, column = {}, partition.removeprefix(COLUMN)
    if partition.startswith(COLUMN) and column in getattr(data, "columns", ()):
        columns, data = {column: data[column].to_numpy()}, data.drop(columns=column)  # type: ignore[union-attr]
    x, y, features = to_arrays(data, labels)
    measured = to_arrays(*test)[:2] if test else None
    place = DiskStore(store) if isinstance(store, str | Path) else store or MemoryStore()
    values = fields | {"run": name, "model": added(place, model)}
    console, setting = _console(progress), Setting(clients, partition, attack, attackers)
    source = source_of(x, y, measured, columns, features)
    outcome = run_simulation(source, setting, values, place, None, watching(console))
    return SimulationResult(**_told(outcome, console), store=place)


def _console(progress: bool) -> Console:
    from rich.console import Console

    return Console(file=sys.stdout, quiet=not progress, force_jupyter=False, force_terminal=False)


def _told(outcome: dict[str, Any], console: Console) -> dict[str, Any]:
    """Print who did not take part, and return the fields of a RunResult."""
    from fedstream.record.attendance import Absence

    absent = [Absence(**absence) for absence in outcome["absent"]]
    for absence in absent:
        console.print(str(absence), markup=False, highlight=False, soft_wrap=True)
    return {field: outcome[field] for field in RunResult.__dataclass_fields__} | {"absent": absent}


def load_model(version: str) -> KerasModel:
    """Return a published model as a compiled keras.Model, checked against its manifest.

        fedstream.load_model("digits@champion")

    Args:
        version: NAME@N or NAME@ALIAS; NAME alone for the newest version.

    Raises:
        ModelError: There is no such version.
        CorruptObject: The model in the store differs from the one that was published.
    """
    from fedstream.catalog.versions import find_version, parse_version, read_version_file
    from fedstream.model.files import load_keras
    from fedstream.store.objects import ObjectStore

    store = ObjectStore.from_env()
    return load_keras(read_version_file(store, find_version(store, *parse_version(version))))


def predict(model: str | KerasModel, samples: NDArray[Any]) -> NDArray[Any]:
    """Return a model's predictions, shape (n, ...); for a classifier, a probability for each class.

        fedstream.predict("digits@champion", pictures).argmax(axis=1)

    Args:
        model: A published version, in the form that `load_model` accepts, or a keras.Model.
        samples: Samples of shape (n, ...), in the format that the model was trained on. For a DataFrame, pass
            `frame[columns].to_numpy()`, with the columns in the order of the training.

    Raises:
        UsageError: The samples are a DataFrame, whose columns can be in a different order.
        ModelError: There is no such version, or the samples do not fit the model.
    """
    import numpy as np

    from fedstream.errors import ModelError
    from fedstream.model.keras_model import record_shape
    from fedstream.model.prediction import predictor

    if hasattr(samples, "columns"):
        raise UsageError(
            "pass the columns in the order that the model expects: predict(model, frame[columns].to_numpy())"
        )
    loaded = load_model(model) if isinstance(model, str) else model
    x, shape = np.asarray(samples), tuple(record_shape(loaded, loaded.inputs, "input"))
    if x.shape[1:] != shape:
        raise ModelError(f"the model expects samples of shape {shape}, but these have shape {x.shape[1:]}")
    return predictor(loaded)(x)
