"""The overlays render what they rendered when somebody last looked."""

from __future__ import annotations

import pytest
import yaml
from support.golden import BUILT_ON, GOLDEN, golden_of, id_of, path_of
from support.rendering import OVERLAYS, rendered


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_renders_what_it_did(overlay: str) -> None:
    kept = list(yaml.safe_load_all(path_of(overlay).read_text(encoding="utf-8")))
    assert golden_of(overlay) == kept, "`make golden`, and look at the difference"


@pytest.mark.parametrize("overlay", BUILT_ON)
def test_an_overlay_lacks_nothing_of_the_one_it_extends(overlay: str) -> None:
    assert {id_of(item) for item in rendered(BUILT_ON[overlay])} <= {id_of(item) for item in rendered(overlay)}


def test_nothing_is_kept_of_overlays_that_are_gone() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == set(OVERLAYS)
