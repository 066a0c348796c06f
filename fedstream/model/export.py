"""A trained model as TensorFlow SavedModel files."""

from __future__ import annotations

import tempfile
from pathlib import Path

from fedstream.model._tensorflow import KerasModel, tensorflow


def to_saved_model(model: KerasModel) -> dict[str, bytes]:
    """Return a SavedModel for serving: relative file name -> bytes.

    The files differ between exports, because TensorFlow numbers its functions within a process, but the weights do not.
    """
    tensorflow()
    with tempfile.TemporaryDirectory() as folder:
        model.export(folder, format="tf_saved_model", verbose=False)
        root = Path(folder)
        return {
            path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()
        }
