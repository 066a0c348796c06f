"""The Keras side: model files, local training and evaluation. TensorFlow is only imported inside functions.

Model authors can use `from fedstream.model import keras, load_keras, save_keras`; `keras` is Keras itself, configured
to be deterministic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

    from fedstream.model.files import load_keras, save_keras

__all__ = ["keras", "load_keras", "save_keras"]


def __getattr__(name: str) -> Any:
    # Steps that do not train also import this package, and must start quickly.
    if name == "keras":
        from fedstream.model import _tensorflow

        return _tensorflow.keras()
    if name in __all__:
        from fedstream.model import files

        return getattr(files, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
