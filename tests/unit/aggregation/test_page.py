"""docs/strategies.md is what the strategies say of themselves, and its example works."""

import re
from pathlib import Path

import numpy as np
from support.strategies import updates_of

from fedstream.aggregation.page import strategies_page
from fedstream.aggregation.registry import BUILT_IN

PAGE = Path(__file__).parents[3] / "docs" / "strategies.md"


def test_the_page_is_current():
    assert PAGE.read_text(encoding="utf-8") == strategies_page(), "run `make compile`"


def test_each_strategy_and_parameter_is_on_the_page():
    text = PAGE.read_text(encoding="utf-8")
    for name, kind in BUILT_IN.items():
        section = text.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        assert all(f"| `{field}` |" in section for field in kind.model_fields), name


def test_the_example_of_an_own_strategy_works():
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    names = {}
    exec(code, names)
    base, update = {"w": np.zeros(2, np.float32)}, {"w": np.full(2, 4, np.float32)}
    made = names["FedDamped"](step=0.25).aggregate(base, updates_of((1, update)), {})
    assert made.weights["w"].tolist() == [1.0, 1.0]
    assert made.weights["w"].dtype == np.float32
    assert made.figures == {"step": 0.25}
