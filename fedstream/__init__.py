"""Federated learning on Kafka streams, as Kubeflow pipelines.

From a notebook or a script:

    import fedstream

    fedstream.start()                              # starts Kafka and a store here, unless the environment names others
    fedstream.send(x, y, client="north")           # each data owner sends records
    fedstream.add_model(model, "mine")             # the model owner adds a compiled Keras model
    fedstream.run("first", model="mine", rounds=5)
    fedstream.history("first").rounds              # a DataFrame; show_report("first") shows the whole report
    fedstream.predict("mine", pictures)            # uses the published model, which load_model("mine") returns
    fedstream.trace("north", 0, 12).learned        # the published models that have learned from a record
    fedstream.simulate(x, y, model="builtin:digits-mlp", clients=100)  # virtual clients, without any server
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedstream.api import add_model, load_model, predict, run, send, simulate
    from fedstream.audit.trace import trace
    from fedstream.local.datasets import load_dataset
    from fedstream.local.notebook import start
    from fedstream.model import keras
    from fedstream.report.history import history
    from fedstream.report.inline import show_report

__version__ = "0.1.0"
__all__ = [
    "__version__",
    "add_model",
    "history",
    "keras",
    "load_dataset",
    "load_model",
    "predict",
    "run",
    "send",
    "show_report",
    "simulate",
    "start",
    "trace",
]

_HOME = {
    **dict.fromkeys(("add_model", "load_model", "predict", "run", "send", "simulate"), "fedstream.api"),
    "history": "fedstream.report.history",
    "keras": "fedstream.model",
    "load_dataset": "fedstream.local.datasets",
    "show_report": "fedstream.report.inline",
    "start": "fedstream.local.notebook",
    "trace": "fedstream.audit.trace",
}
"""Module of each name, which is imported only when the name is used (PEP 562).

Otherwise each of a run's many steps would wait for these imports when it starts.
"""


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
