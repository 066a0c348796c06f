"""Where the model owner's model comes from: a .keras file, or a function that returns a compiled model."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from fedstream.errors import ModelError, UsageError
from fedstream.model._tensorflow import KerasModel, keras
from fedstream.model.adapters import ENTRY, MAX_LAYERS, MAX_RANK, Adapters, adaptable, enable, entry
from fedstream.model.archive import check_archive, write_archive
from fedstream.model.chain import chained
from fedstream.model.files import load_keras, save_keras
from fedstream.record.exchange import listed, matches

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


def read_models(sources: Sequence[str]) -> bytes:
    """Return the .keras bytes of one model, or of the chain of several sub-models, in this order.

    Raises:
        UsageError: A source is neither a file nor such a name.
        ModelError: A source does not provide a usable model, or the sub-models do not fit each other.
    """
    files = [read_model(source) for source in sources]
    return files[0] if len(files) == 1 else chained(files)


def with_lora(data: bytes, rank: int, layers: str = "*") -> bytes:
    """Return the .keras file with LoRA adapters beside layers of its model.

    Args:
        data: Bytes of a .keras file.
        rank: Rank of the adapters.
        layers: Glob pattern of the paths of the layers; by default, all layers that support LoRA.

    Raises:
        UsageError: The rank is out of range.
        ModelError: No layer supports LoRA or matches the pattern, or the model already has adapters.
    """
    if not 1 <= rank <= MAX_RANK:
        raise UsageError(f"the rank of LoRA adapters is {rank}, expected 1 to {MAX_RANK:,}")
    model = load_keras(data)
    found = adaptable(model)
    if not found:
        raise ModelError(
            f"no layer of model {model.name!r} supports LoRA; Dense, EinsumDense, Embedding and convolutions do"
        )
    if enabled := [name for name, layer in found.items() if layer.lora_enabled]:
        raise ModelError(f"model {model.name!r} already has LoRA adapters, such as that of {enabled[0]!r}")
    chosen = [name for name in found if matches(name, layers)]
    if not 1 <= len(chosen) <= MAX_LAYERS:
        raise ModelError(f"{layers!r} matches no layer that supports LoRA; those of the model are {listed([*found])}")
    adapters = Adapters(rank=rank, layers=sorted(chosen))
    enable(model, adapters)
    return write_archive(check_archive(data, "the model") | {ENTRY: entry(adapters)})


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
