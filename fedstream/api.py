"""What a notebook or a script does with fedstream, from the first record to a prediction: the functions of `import fedstream`.

Each is thin: it finds the Kafka and the store that the environment names, as the command line does, and calls what does the work.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedstream.errors import UsageError

if TYPE_CHECKING:
    import pandas
    from numpy.typing import NDArray

    from fedstream.record.attendance import Absence
    from fedstream.record.description import ModelDescription
    from fedstream.stream.announcement import DataAnnouncement


@dataclass(frozen=True)
class RunResult:
    """What came of a run.

    Attributes:
        run: its name.
        model: what it started from.
        finished: whether all its rounds are done.
        version: that was published; 0 for none.
        reason: why none was.
        rounds: training rounds done.
        metrics: what its best global model scored, where it is published; else what the one measured last scored.
        weights_digest: SHA-256 of that model's weights; unpublished, of the last one's.
        absent: clients that did not take part, or not in every round, and why.
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
        data: a DataFrame, whose columns but the labels' are the samples; or an array of samples, shape (n, ...).
        labels: name of the DataFrame's column of labels; or n labels.
        client: name of the data owner.
        topic: topic of the records; the client's name by default.
        options: as those of `fedstream.stream.send.send_dataset`, such as validation_rate.

    Raises:
        UsageError: the records cannot be announced; nothing is sent.
        BrokerError: the broker did not take the records; nothing is announced.
    """
    from fedstream.settings import KafkaSettings
    from fedstream.stream.send import send_dataset

    x, y, features = to_arrays(data, labels)
    if features:
        options = {"features": features} | options
    return send_dataset(KafkaSettings.from_env(), topic or client, client, x, y, **options)


def to_arrays(data: Any, labels: Any) -> tuple[NDArray[Any], NDArray[Any], list[str]]:
    """Return samples, labels, and the names of the columns; none where the data is no DataFrame. Its index is no column.

    A DataFrame's samples are float32, so that those of all owners have one format.

    Raises:
        UsageError: there is no such column, or one holds no numbers.
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
            f"column {str(wrong[0])!r} holds no numbers but {data[wrong[0]].dtype}; encode or drop it, or name it as the labels"
        )
    return data.to_numpy(np.float32), np.asarray(labels), [str(name) for name in data.columns]


def add_model(model: Any, name: str) -> ModelDescription:
    """Add a compiled model for new runs to start from, and return its description.

        fedstream.add_model(model, "mine")

    Args:
        model: a compiled keras.Model, the path of a .keras file, or `package.module:function` that returns one.
        name: what runs call it. What is added last under a name counts.

    Raises:
        UsageError: it is no name, or the model is not found.
        ModelError: it is no model that can be trained here; says why.
    """
    from fedstream.catalog import models
    from fedstream.catalog.additions import check_name
    from fedstream.model.files import save_keras
    from fedstream.model.source import read_model
    from fedstream.store.objects import ObjectStore

    check_name(name)
    data = read_model(str(model)) if isinstance(model, str | Path) else save_keras(model)
    return models.add_model(ObjectStore.from_env(), name, data)


def run(name: str, *, model: str, progress: bool = True, **fields: Any) -> RunResult:
    """Run a federated training in this process, or go on with one, to a published model.

        fedstream.run("first", model="mine", clients=["north", "south"], rounds=5)

    The steps are those of the pipeline in Kubeflow, and so are their digests. Run again with the same name and values, it goes on where it stopped.

    Args:
        name: of the run.
        model: name of an added model, or a built-in one such as `builtin:digits-mlp`.
        progress: print a line for each round, and for each client that did not take part.
        fields: others of `fedstream.record.spec.RunSpec`, such as rounds, epochs, evaluation_topic; `fedstream run --help` describes them.

    Raises:
        FedstreamError: of any kind; the run can be started again.
    """
    from rich.console import Console

    from fedstream.cli.watch import watching
    from fedstream.local.inprocess import NO_BUDGET
    from fedstream.local.runs import run as run_locally
    from fedstream.record.attendance import Absence

    console = Console(file=sys.stdout, quiet=not progress, force_jupyter=False, force_terminal=False)
    outcome = run_locally({"run": name, "model": model, **fields}, "inprocess", NO_BUDGET, None, watching(console))
    outcome["absent"] = [Absence(**absence) for absence in outcome["absent"]]
    for absence in outcome["absent"]:
        console.print(str(absence), markup=False, highlight=False, soft_wrap=True)
    return RunResult(**{field: outcome[field] for field in RunResult.__dataclass_fields__})


def load_model(version: str) -> Any:
    """Return a published model as a compiled keras.Model, checked against its manifest.

        fedstream.load_model("digits@champion")

    Args:
        version: NAME@N or NAME@ALIAS; NAME alone for the newest version.

    Raises:
        ModelError: there is no such version.
        CorruptObject: it is not what was published.
    """
    from fedstream.catalog.versions import find_version, parse_version, read_version_file
    from fedstream.model.files import load_keras
    from fedstream.store.objects import ObjectStore

    store = ObjectStore.from_env()
    return load_keras(read_version_file(store, find_version(store, *parse_version(version))))


def predict(model: Any, samples: NDArray[Any]) -> NDArray[Any]:
    """Return a model's predictions, shape (n, ...): of a classifier, a probability for each class.

        fedstream.predict("digits@champion", pictures).argmax(axis=1)

    Args:
        model: a published version, as `load_model` takes it, or a keras.Model.
        samples: (n, ...), as the model was trained on them: of a DataFrame, `frame[columns].to_numpy()`, with the columns in that order.

    Raises:
        UsageError: the samples are a DataFrame, whose columns may be in another order.
        ModelError: there is no such version, or the samples do not fit the model.
    """
    import numpy as np

    from fedstream.errors import ModelError
    from fedstream.model.keras_model import record_shape
    from fedstream.model.prediction import predictor

    if hasattr(samples, "columns"):
        raise UsageError("say in which order the model takes the columns: predict(model, frame[columns].to_numpy())")
    loaded = load_model(model) if isinstance(model, str) else model
    x, shape = np.asarray(samples), tuple(record_shape(loaded, loaded.inputs, "input"))
    if x.shape[1:] != shape:
        raise ModelError(f"the model takes samples of shape {shape}, these have {x.shape[1:]}")
    return predictor(loaded)(x)
