"""Where the model owner's model comes from: a .keras file, or a function that returns a compiled model."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path

from fedstream.errors import ModelError, UsageError
from fedstream.model._tensorflow import KerasModel, keras
from fedstream.model.archive import check_archive
from fedstream.model.files import save_keras

SEED = 0
"""Seed of the initial weights of a model that a function builds: built twice, it is the same file."""


def read_model(source: str) -> bytes:
    """Return .keras bytes from a file, as they are, or from `package.module:function`.

    Raises:
        UsageError: The source is neither a file nor such a name.
        ModelError: The source does not provide a usable model.
    """
    if Path(source).is_file():
        data = Path(source).read_bytes()
        check_archive(data, source)
        return data
    if ":" not in source or source.endswith(".keras"):
        raise UsageError(f"{source!r} is neither a file nor `package.module:function`")
    function = load_callable(source)
    keras().utils.clear_session()
    keras().utils.set_random_seed(SEED)
    model = function()
    if not isinstance(model, keras().Model):
        raise ModelError(f"{source} returned {type(model).__name__}, expected a compiled keras.Model")
    return save_keras(model)


def load_callable(name: str) -> Callable[[], KerasModel]:
    """Return the function that `package.module:function` names; the current folder is searched first.

    Raises:
        UsageError: There is no such module or function.
        ModelError: The module cannot be imported.
    """
    module_name, _, function_name = name.partition(":")
    if not function_name.isidentifier() or not all(part.isidentifier() for part in module_name.split(".")):
        raise UsageError(f"{name!r} is not of the form `package.module:function`")
    keras()  # the module imports it: ours comes first, since it is quicker and sets the threads
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise UsageError(
                f"there is no module {error.name!r} (looked in the current folder and in the installed packages)"
            ) from error
        raise ModelError(f"module {module_name!r} cannot be imported: {error}") from error
    except Exception as error:  # the owner's module may raise anything
        raise ModelError(f"module {module_name!r} cannot be imported: {type(error).__name__}: {error}") from error
    function = getattr(module, function_name, None)
    if not callable(function):
        raise UsageError(f"module {module_name!r} has no function {function_name!r}")
    return function  # type: ignore[no-any-return]
