"""Import TensorFlow once, late and quickly, and make it deterministic. Knows nothing of models."""

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
from typing import TYPE_CHECKING, Any, TextIO, TypeAlias

from fedstream.errors import ModelError, install_hint

if TYPE_CHECKING:
    import keras as keras_package

KerasModel: TypeAlias = "keras_package.Model"
"""A Keras model, as the type of parameters; nothing imports Keras for it."""

DEFAULT_THREADS = 2
"""Default number of intra-op threads, which is also the default of a run's spec."""

OPTIONAL = ("matplotlib", "pandas", "scipy", "sklearn")
"""Optional imports of Keras, for plots, DataFrames and scikit-learn wrappers.

They take nearly half of the import time of Keras.
"""

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
    """Make the following computations in this process deterministic.

    Call this function before loading a model: weights depend on the number of threads, and TensorFlow fixes that number
    on first use.

    Args:
        threads: Number of intra-op threads, at least 1.
        seed: Seed of the generators of Python, NumPy and Keras.
        gpu_memory_mib: See `set_threads`.

    Raises:
        ModelError: TensorFlow already runs with another number of threads or another memory limit.
    """
    set_threads(threads, gpu_memory_mib)
    keras().utils.set_random_seed(seed)


def set_threads(threads: int | None, gpu_memory_mib: int | None = None) -> None:
    """Start TensorFlow with a number of intra-op threads.

    Args:
        threads: Number of intra-op threads; None for the current number, or 2 if TensorFlow has not started.
        gpu_memory_mib: Maximum memory to use on each GPU, in MiB; 0 to allocate memory as needed; None for the current
            limit, or 0 if TensorFlow has not started.

    Raises:
        ModelError: TensorFlow already runs with another number of threads or another memory limit.
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
                f"TensorFlow already runs with {_threads} threads in this process, "
                f"so it cannot train with {threads}; use a new process"
            )
        if gpu_memory_mib not in (None, _gpu_memory_mib) and sys.modules["tensorflow"].config.list_physical_devices(
            "GPU"
        ):
            raise ModelError(
                f"TensorFlow already runs with gpu_memory_mib {_gpu_memory_mib} in this process, "
                f"not {gpu_memory_mib}; use a new process"
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
            f"TensorFlow was used in this process before fedstream could set {threads} threads; "
            "use a new process (restart the notebook's kernel)"
        ) from error


def _import() -> ModuleType:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    try:
        with _hidden(OPTIONAL), _no_garbage_collection(), _quiet_stderr():
            import keras
            import tensorflow
        # TensorFlow warns when a function is traced again, which happens in each new training.
        logging.getLogger("tensorflow").setLevel(logging.ERROR)
    except ImportError as error:
        raise ModelError(f"TensorFlow cannot be imported ({error}); {install_hint('train')}") from error
    if keras.backend.backend() != "tensorflow":
        raise ModelError(
            f"Keras was imported with backend {keras.backend.backend()!r} before fedstream could choose; "
            "set KERAS_BACKEND=tensorflow"
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
    """Disable garbage collection during an import.

    An import creates hundreds of thousands of objects and drops none; searching them for garbage takes half a second.
    """
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
    """Suppress the messages of TensorFlow's C++ code while it loads, for which there is no setting.

    If the import fails, all messages are shown.
    """
    sys.stderr.flush()
    kept, shown = os.dup(2), sys.stderr
    # Messages of Python code, such as a progress line of another thread, are still shown.
    if _is_descriptor_2(shown):
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
            sys.stderr = shown  # `kept` stays open, because another thread can be writing to it


def _is_descriptor_2(stream: TextIO) -> bool:
    try:
        return stream.fileno() == 2
    except (OSError, ValueError):  # a notebook's, or a test's
        return False
