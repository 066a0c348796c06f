from __future__ import annotations

import io
import json
import subprocess
import sys
import textwrap
import zipfile
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fedstream.errors import ModelError
from fedstream.model.archive import ENTRIES, canonical_archive, check_archive, read_archive


def archive(
    config: Any, date: str = "2026-01-01", order: tuple[str, ...] = ("metadata.json", "config.json", "model.weights.h5")
) -> bytes:
    contents = {
        "metadata.json": json.dumps({"keras_version": "3", "date_saved": date}),
        "config.json": json.dumps(config),
        "model.weights.h5": "weights",
    }
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as file:
        for name in order:
            file.writestr(name, contents[name])
    return target.getvalue()


def config(*layers: dict[str, Any]) -> dict[str, Any]:
    return {"class_name": "Sequential", "config": {"layers": list(layers)}, "compile_config": {"loss": "mse"}}


@pytest.mark.parametrize(
    "data", [b"", b"no zip at all", archive(config())[:-30], archive(config(), order=("metadata.json",)), archive([1])]
)
def test_what_is_no_keras_file_is_refused(data: bytes) -> None:
    with pytest.raises(ModelError, match=r"mine\.keras is not a \.keras file.*model\.save"):
        check_archive(data, "mine.keras")


def test_a_lambda_layer_is_refused_however_deep() -> None:
    inner = {"class_name": "Functional", "config": {"layers": [{"class_name": "Lambda", "config": {"name": "evil"}}]}}
    with pytest.raises(
        ModelError, match=r"mine\.keras has a Lambda layer \('evil'\), whose code would run at every client"
    ):
        check_archive(archive(config(inner)), "mine.keras")


def test_a_model_that_is_not_compiled_is_refused() -> None:
    with pytest.raises(ModelError, match=r"the model in mine\.keras is not compiled.*model\.compile"):
        check_archive(archive({"class_name": "Sequential", "config": {}}), "mine.keras")


def test_addresses_dates_and_order_do_not_change_canonical_bytes() -> None:
    def shared(first: int, second: int) -> dict[str, Any]:
        return config(
            *({"class_name": "Dense", "config": {"dtype": {"shared_object_id": i}}} for i in (first, second, first))
        )

    canonical = canonical_archive(archive(shared(140, 7)))
    assert (
        canonical_archive(archive(shared(3, 99), "2027-12-31", ("model.weights.h5", "config.json", "metadata.json")))
        == canonical
    )
    assert canonical_archive(canonical) == canonical
    assert canonical_archive(archive(shared(5, 5))) != canonical
    with zipfile.ZipFile(io.BytesIO(canonical)) as file:
        layers = json.loads(file.read("config.json"))["config"]["layers"]
        assert [layer["config"]["dtype"]["shared_object_id"] for layer in layers] == [0, 1, 0]
        assert json.loads(file.read("metadata.json")) == {"keras_version": "3"}


def packed(files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", compression) as file:
        for name, content in files.items():
            file.writestr(name, content)
    return target.getvalue()


def good(**files: bytes) -> dict[str, bytes]:
    return {
        "config.json": json.dumps(config()).encode(),
        "metadata.json": b"{}",
        "model.weights.h5": b"weights",
    } | files


CORRUPT_DEFLATE = bytearray(packed({"config.json": bytes(range(256)) * 40}))
CORRUPT_DEFLATE[60:70] = b"\xff" * 10
BOMB = packed(good(**{"model.weights.h5": bytes(200 * 1024**2)}))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (bytes(CORRUPT_DEFLATE), "is not a .keras file"),
        (packed(good(), zipfile.ZIP_BZIP2), "neither stored nor deflated"),
        (packed(good(**{"../../etc/passwd": b"x"})), "leads out of the archive"),
        (packed(good(**{"/etc/passwd": b"x"})), "leads out of the archive"),
        (packed({f"{number}": b"" for number in range(ENTRIES + 1)}), f"more than {ENTRIES} files"),
        (packed(good(**{"config.json": b"[" * 300 + b"]" * 300})), "config.json: it is nested deeper than 200 levels"),
        (packed(good(**{"config.json": b"[" * 100_000})), "config.json: it is nested deeper than 200 levels"),
        (packed(good(**{"config.json": b'"' + b"x" * 17 * 1024**2 + b'"'})), "config.json has more than"),
        (BOMB, "inflates to 209,71"),
    ],
)
def test_what_would_cost_memory_or_is_damaged_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(ModelError, match=r"^mine\.keras .*model\.save") as error:
        check_archive(data, "mine.keras")
    assert said in str(error.value)


def test_a_directory_that_lies_about_sizes_costs_no_memory() -> None:
    """Half a MB that inflates to half a GB, said to be 10 bytes: Python's own read of the file takes all of it."""
    code = """
        import io, resource, struct, zipfile
        from fedstream.errors import ModelError
        from fedstream.model.archive import check_archive

        def lying(size):
            target = io.BytesIO()
            with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as file, file.open("config.json", "w") as entry:
                for _ in range(size // 2**20):
                    entry.write(bytes(2**20))
            data = bytearray(target.getvalue())
            directory = data.rindex(b"PK\\1\\2")
            data[directory + 24 : directory + 28] = struct.pack("<I", 10)
            return bytes(data)

        data = lying(512 * 2**20)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            check_archive(data, "mine.keras")
        except ModelError:
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 32 * 1024


SMALL = packed(good())


@settings(deadline=None, max_examples=400)
@given(
    st.lists(st.tuples(st.integers(0, len(SMALL) - 1), st.integers(0, 255)), min_size=1, max_size=8),
    st.integers(0, len(SMALL)),
)
@example([], 0)
def test_of_whatever_was_changed_or_cut_only_a_model_error_comes(changes: list[tuple[int, int]], end: int) -> None:
    data = bytearray(SMALL)
    for where, byte in changes:
        data[where] = byte
    for damaged in (bytes(data), bytes(data[:end])):
        with suppress(ModelError):
            assert set(check_archive(damaged, "mine.keras")) == set(read_archive(damaged, "mine.keras"))
