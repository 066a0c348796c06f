from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import fedstream.model


def test_no_module_imports_tensorflow_before_it_is_needed() -> None:
    """Steps that do not train must start in half a second; TensorFlow takes six."""
    names = sorted(f"fedstream.model.{path.stem}" for path in Path(fedstream.model.__path__[0]).glob("*.py"))
    code = f"import importlib, sys; [importlib.import_module(name) for name in {names}]; print({{'tensorflow', 'keras'}} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout.strip() == "set()"
