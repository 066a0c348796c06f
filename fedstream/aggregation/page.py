"""docs/strategies.md, made from the strategies themselves: `python -m fedstream.aggregation.page` prints it."""

from __future__ import annotations

import json
from collections.abc import Iterable

from fedstream.aggregation.registry import BUILT_IN, GROUP, Description, describe

INTRODUCTION = """\
# Strategies

A strategy says how the clients' updates become the next global model. A run names it in `strategy`, and gives its parameters as JSON in
`strategy_config`; parameters that are left out have their defaults. Both are checked when the run is planned, and stand in its `spec.json`.

```console
$ fedstream strategies
$ fedstream run --name first --model tumours --strategy FedAdam --strategy-config '{"server_learning_rate": 0.05}'
```

Updates are validated before a strategy sees them, and outliers are rejected (`outlier_bound`). What a strategy keeps from round to round, its server
state, is an object of the round; `fedstream verify` makes every model and every state again. Figures that a strategy gives stand in the commits and
in the report.
"""

OWN = f"""\
## Your own strategy

A strategy is a class in a package of yours, installed where the steps run and where runs are verified. Its fields are its parameters:

```python
from typing import ClassVar

from pydantic import Field

from fedstream.aggregation.fedavg import federated_average
from fedstream.aggregation.strategy import Aggregated, Strategy


class FedDamped(Strategy):
    \"\"\"The mean of the updates, taken only part of the way.\"\"\"

    paper: ClassVar[str] = "none"
    when: ClassVar[str] = "The global model swings from round to round."

    step: float = Field(0.5, gt=0, le=1, description="Part of the way.")

    def aggregate(self, base, updates, state):
        mean = federated_average(updates.weighted)
        damped = {{name: (base[name] + self.step * (array - base[name])).astype(array.dtype) for name, array in mean.items()}}
        return Aggregated(damped, figures={{"step": self.step}})
```

The package offers it by an entry point:

```toml
[project.entry-points."{GROUP}"]
FedDamped = "mine.strategies:FedDamped"
```

`updates` can be read more than once; `updates.blocks()` gives the values of all clients block by block, which keeps the memory small. A strategy that
keeps something returns it as `state`. One that needs its clients' help returns a `LocalRule` from `local_rule()`: what they add to each step's
gradient, what they do with the trained weights, and which arrays they send back. `broadcast()` says which arrays go out to them with the model.
"""


def strategies_page() -> str:
    """Return docs/strategies.md; strategies of other packages are not in it."""
    return "\n".join([INTRODUCTION, *(_section(describe(name)) for name in sorted(BUILT_IN)), OWN])


def _section(about: Description) -> str:
    lines = [f"## {about.name}", "", about.summary, "", f"* **When:** {about.when}", f"* **Paper:** {about.paper}", ""]
    return "\n".join([*lines, *(_table(about) if about.parameters else ["It has no parameters.", ""])])


def _table(about: Description) -> Iterable[str]:
    yield from ("| parameter | default | allowed | meaning |", "|---|---|---|---|")
    for parameter in about.parameters:
        meaning = parameter.description.replace("|", "\\|")
        yield f"| `{parameter.name}` | {json.dumps(parameter.default)} | {parameter.allowed} | {meaning} |"
    yield ""


if __name__ == "__main__":
    print(strategies_page(), end="")
