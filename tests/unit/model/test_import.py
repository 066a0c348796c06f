from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import fedstream.model


def test_no_module_imports_tensorflow_before_it_is_needed() -> None:
    """Steps that do not train must start in half a second; TensorFlow takes six."""
    names = sorted(f"fedstream.model.{path.stem}" for path in Path(fedstream.model.__path__[0]).glob("*.py"))
    code = (
        f"import importlib, sys; [importlib.import_module(name) for name in {names}]; "
        f"print({{'tensorflow', 'keras'}} & set(sys.modules))"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
        ).stdout.strip()
        == "set()"
    )


NOISY = """
import sys, threading, time
def speak():
    while True:
        print("a line of another thread", file=sys.stderr)
        time.sleep(0.2)
threading.Thread(target=speak, daemon=True).start()
from fedstream.model._tensorflow import tensorflow
tf = tensorflow()
tf.config.list_physical_devices("GPU")
for number in range(8):  # TensorFlow warns from the fifth on
    tf.function(lambda x: x + 1)(tf.constant([1.0] * (number + 1)))
traced = tf.function(lambda x: x + 1)
for number in range(8):
    traced(number)
"""


def test_tensorflow_says_nothing_on_the_console_and_others_are_heard() -> None:
    """Where another thread draws a run's table, the file descriptor of both is quiet while TensorFlow loads."""
    said = subprocess.run([sys.executable, "-c", NOISY], capture_output=True, text=True, check=True, timeout=120)
    assert set(said.stderr.splitlines()) == {"a line of another thread"}


def test_authors_get_keras_set_up_and_the_file_functions() -> None:
    from fedstream.model import _tensorflow, files, keras, load_keras, save_keras

    assert keras is sys.modules["keras"]
    assert _tensorflow._threads == _tensorflow.DEFAULT_THREADS
    assert (load_keras, save_keras) == (files.load_keras, files.save_keras)


def test_what_authors_ask_for_in_vain() -> None:
    with pytest.raises(AttributeError, match=r"module 'fedstream.model' has no attribute 'train'"):
        _ = fedstream.model.train
