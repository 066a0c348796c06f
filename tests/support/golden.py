"""What the overlays rendered when somebody last looked.

`make golden` writes it anew; the difference shows what a change does to a cluster.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from support.rendering import OVERLAYS, Objects, rendered

GOLDEN = Path(__file__).parents[1] / "unit/kustomize/golden"

BUILT_ON = {"gpu": "local", "local-secure": "local", "local-secure-kubeflow": "local-kubeflow"}
"""Overlays that extend another: only what they add or change is kept."""

FILE = "a file, whose hash is in the name of this map"


def id_of(item: dict[str, Any]) -> tuple[str, str]:
    return item["kind"], item["metadata"]["name"]


def golden_of(overlay: str) -> Objects:
    """Return the objects that are kept for an overlay, in an order that no tool chooses; files stand for themselves."""
    there = rendered(BUILT_ON[overlay]) if overlay in BUILT_ON else []
    return [
        _without_files(item) for item in sorted((item for item in rendered(overlay) if item not in there), key=id_of)
    ]


def _without_files(item: dict[str, Any]) -> dict[str, Any]:
    if item["kind"] != "ConfigMap":
        return item
    return item | {"data": {key: FILE if "\n" in value else value for key, value in item["data"].items()}}


def path_of(overlay: str) -> Path:
    return GOLDEN / f"{overlay}.yaml"


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for name in OVERLAYS:
        path_of(name).write_text(yaml.safe_dump_all(golden_of(name), width=10_000), encoding="utf-8")
