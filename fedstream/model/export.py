"""A model as SavedModel, for TensorFlow Serving and KServe."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any


def to_saved_model(model: Any) -> dict[str, bytes]:
    """Return relative file name -> bytes of the model's SavedModel."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "saved_model"
        model.export(root, verbose=False)
        return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}
