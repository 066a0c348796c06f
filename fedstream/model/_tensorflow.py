"""Imports TensorFlow, once, late and quickly, and makes it deterministic. Knows nothing of models."""

from __future__ import annotations

import gc
import logging
import os
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, TextIO

from fedstream.errors import ModelError, install_hint

DEFAULT_THREADS = 2
"""Intra-op threads when nobody chose: the default of a run's spec."""

OPTIONAL = ("matplotlib", "pandas", "scipy", "sklearn")
"""What Keras imports if it can, for plots, DataFrames and scikit-learn wrappers: nearly half of the time its import takes."""

_LOCK = threading.Lock()
_threads: int | None = None
_gpu_memory_mib = 0


def tensorflow() -> Any:
    """Return the `tensorflow` module; the first call imports it (seconds) and fixes the number of threads.

    Raises:
        ModelError: TensorFlow is not installed, or Keras runs on another backend.
    """
    set_threads(None)
    return sys.modules["tensorflow"]


def keras() -> Any:
    """Return the `keras` module on its TensorFlow backend."""
    tensorflow()
    return sys.modules["keras"]


def configure(threads: int, seed: int, gpu_memory_mib: int | None = None) -> None:
    """Make what follows in this process deterministic.

    Call it before a model is loaded: weights depend on the number of threads, and TensorFlow fixes that number when it first does something.

    Args:
        threads: intra-op threads, at least 1.
        seed: of Python's, numpy's and Keras' generators.
        gpu_memory_mib: as in `set_threads`.

    Raises:
        ModelError: TensorFlow already runs with another number of threads, or another limit.
    """
    set_threads(threads, gpu_memory_mib)
    keras().utils.set_random_seed(seed)


def set_threads(threads: int | None, gpu_memory_mib: int | None = None) -> None:
    """Start TensorFlow with this number of intra-op threads; None keeps the number in force, or takes 2.

    Args:
        threads: intra-op threads.
        gpu_memory_mib: most memory to take on each GPU, in MiB; 0 to take more as it is needed, None for the limit in force, or 0.

    Raises:
        ModelError: TensorFlow already runs with another number, or another limit.
    """
    global _threads, _gpu_memory_mib
    with _LOCK:
        if _threads is None:
            tf = _import()
            wanted, _gpu_memory_mib = threads or DEFAULT_THREADS, gpu_memory_mib or 0
            _apply(tf, wanted, _gpu_memory_mib)
            tf.config.experimental.enable_op_determinism()
            _threads = wanted
        if threads not in (None, _threads):
            raise ModelError(
                f"TensorFlow already runs with {_threads} threads in this process, so it cannot train with {threads}; use a new process"
            )
        if gpu_memory_mib not in (None, _gpu_memory_mib) and sys.modules["tensorflow"].config.list_physical_devices(
            "GPU"
        ):
            raise ModelError(
                f"TensorFlow already runs with gpu_memory_mib {_gpu_memory_mib} in this process, not {gpu_memory_mib}; use a new process"
            )


def _apply(tf: Any, threads: int, gpu_memory_mib: int) -> None:
    try:
        for gpu in tf.config.list_physical_devices("GPU"):
            if gpu_memory_mib:
                tf.config.set_logical_device_configuration(
                    gpu, [tf.config.LogicalDeviceConfiguration(memory_limit=gpu_memory_mib)]
                )
            else:
                # Without growth the first process takes all of a GPU's memory, and a second client on it fails.
                tf.config.experimental.set_memory_growth(gpu, True)
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    except RuntimeError as error:
        raise ModelError(
            f"TensorFlow was used in this process before fedstream could set {threads} threads; use a new process (restart the notebook's kernel)"
        ) from error


def _import() -> ModuleType:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    try:
        with _hidden(OPTIONAL), _no_garbage_collection(), _quiet_stderr():
            import keras
            import tensorflow
        logging.getLogger("tensorflow").setLevel(
            logging.ERROR
        )  # it warns of functions traced again, which each new training has
    except ImportError as error:
        raise ModelError(f"TensorFlow cannot be imported ({error}); {install_hint('train')}") from error
    if keras.backend.backend() != "tensorflow":
        raise ModelError(
            f"Keras was imported with backend {keras.backend.backend()!r} before fedstream could choose; set KERAS_BACKEND=tensorflow"
        )
    return tensorflow  # type: ignore[no-any-return]


@contextmanager
def _hidden(names: Sequence[str]) -> Iterator[None]:
    """Make modules that are not imported yet look absent to this thread."""
    finder = _Absent({name for name in names if name not in sys.modules}, threading.get_ident())
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _Absent(MetaPathFinder):
    def __init__(self, names: set[str], thread: int) -> None:
        self.names, self.thread = names, thread

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] in self.names and threading.get_ident() == self.thread:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)
        return None


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """An import makes hundreds of thousands of objects and drops none; looking for garbage meanwhile takes half a second."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Drop what TensorFlow's C++ code says about itself while it loads; no setting silences it. A failed import still shows all."""
    sys.stderr.flush()
    kept, shown = os.dup(2), sys.stderr
    if _is_descriptor_2(
        shown
    ):  # what Python code says meanwhile, a progress line in another thread, goes where it went
        sys.stderr = os.fdopen(
            kept, "w", buffering=1, encoding=shown.encoding, errors="backslashreplace", closefd=False
        )
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            yield
        except BaseException:
            said.seek(0)
            os.write(kept, said.read())
            raise
        finally:
            os.dup2(kept, 2)
            sys.stderr = shown  # `kept` stays open: the other thread may just be writing to it


def _is_descriptor_2(stream: TextIO) -> bool:
    try:
        return stream.fileno() == 2
    except (OSError, ValueError):  # a notebook's, or a test's
        return False
