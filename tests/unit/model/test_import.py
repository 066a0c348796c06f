from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import fedstream.model


def test_no_module_imports_tensorflow_before_it_is_needed() -> None:
    """Steps that do not train must start in half a second; TensorFlow takes six."""
    names = sorted(f"fedstream.model.{path.stem}" for path in Path(fedstream.model.__path__[0]).glob("*.py"))
    code = f"import importlib, sys; [importlib.import_module(name) for name in {names}]; print({{'tensorflow', 'keras'}} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout.strip() == "set()"


def test_authors_get_keras_set_up_and_the_file_functions() -> None:
    from fedstream.model import _tensorflow, add_model, files, keras, load_keras, save_keras

    assert keras is sys.modules["keras"]
    assert _tensorflow._threads == _tensorflow.DEFAULT_THREADS
    assert (add_model, load_keras, save_keras) == (files.add_model, files.load_keras, files.save_keras)


def test_what_authors_ask_for_in_vain() -> None:
    with pytest.raises(AttributeError, match=r"module 'fedstream.model' has no attribute 'train'"):
        _ = fedstream.model.train
