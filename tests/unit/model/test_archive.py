from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import pytest

from fedstream.errors import ModelError
from fedstream.model.archive import canonical_archive, check_archive


def archive(config: Any, date: str = "2026-01-01", order: tuple[str, ...] = ("metadata.json", "config.json", "model.weights.h5")) -> bytes:
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


@pytest.mark.parametrize("data", [b"", b"no zip at all", archive(config())[:-30], archive(config(), order=("metadata.json",)), archive([1])])
def test_what_is_no_keras_file_is_refused(data: bytes) -> None:
    with pytest.raises(ModelError, match=r"mine\.keras is not a \.keras file.*model\.save"):
        check_archive(data, "mine.keras")


def test_a_lambda_layer_is_refused_however_deep() -> None:
    inner = {"class_name": "Functional", "config": {"layers": [{"class_name": "Lambda", "config": {"name": "evil"}}]}}
    with pytest.raises(ModelError, match=r"mine\.keras has a Lambda layer \('evil'\), whose code would run at every client"):
        check_archive(archive(config(inner)), "mine.keras")


def test_a_model_that_is_not_compiled_is_refused() -> None:
    with pytest.raises(ModelError, match=r"the model in mine\.keras is not compiled.*model\.compile"):
        check_archive(archive({"class_name": "Sequential", "config": {}}), "mine.keras")


def test_addresses_dates_and_order_do_not_change_canonical_bytes() -> None:
    def shared(first: int, second: int) -> dict[str, Any]:
        return config(*({"class_name": "Dense", "config": {"dtype": {"shared_object_id": i}}} for i in (first, second, first)))

    canonical = canonical_archive(archive(shared(140, 7)))
    assert canonical_archive(archive(shared(3, 99), "2027-12-31", ("model.weights.h5", "config.json", "metadata.json"))) == canonical
    assert canonical_archive(canonical) == canonical
    assert canonical_archive(archive(shared(5, 5))) != canonical
    with zipfile.ZipFile(io.BytesIO(canonical)) as file:
        layers = json.loads(file.read("config.json"))["config"]["layers"]
        assert [layer["config"]["dtype"]["shared_object_id"] for layer in layers] == [0, 1, 0]
        assert json.loads(file.read("metadata.json")) == {"keras_version": "3"}
