"""docs/strategies.md, generated from the strategies. `python -m fedstream.aggregation.page` prints it."""

from __future__ import annotations

import json
from collections.abc import Iterable

from fedstream.aggregation.registry import BUILT_IN, GROUP, Description, describe

INTRODUCTION = """\
# Strategies

A strategy determines how the clients' updates become the next global model. A run names its strategy in `strategy`,
and sets the parameters as JSON in `strategy_config`; parameters that are left out keep their defaults. Both are checked
when the run is planned, and recorded in its `spec.json`.

```console
$ fedstream strategies
$ fedstream run --name first --model tumours --strategy FedAdam --strategy-config '{"server_learning_rate": 0.05}'
```

Updates are validated before a strategy sees them, and outliers are rejected (`outlier_bound`). The state that a
strategy keeps on the server from round to round is stored as an object of the round; `fedstream verify` computes every
model and every state again. The commits and the report contain the figures that a strategy returns.

Some strategies need a number of updates in each round. A run whose quorum (`min_clients`) is smaller is refused when it
is planned.

## Clipping

`clipping` limits the change of each accepted update, that is, the norm of its difference from the global model that the
client received. It works with every strategy, and applies before the strategy:

```console
$ fedstream run --name first --model tumours --clipping '{"norm": 1.0, "quantile": 0.5}'
```

| field | default | allowed | meaning |
|---|---|---|---|
| `norm` | 0 | a number at least 0 | A larger change is scaled down to this norm; 0 for no clipping. |
| `quantile` | 0 | a number at least 0 and below 1 | If above 0, the norm adapts: after each round it moves towards \
this quantile of the norms of the changes (Andrew et al. 2021, arXiv 1905.03871). `norm` is then the first one. |
| `learning_rate` | 0.2 | a number above 0 and at most 10 | How fast the norm adapts. |
| `zero_above` | 0 | 0, or a number at least 1 | A change whose norm exceeds this multiple of the round's median \
counts as no change; 0 for none. It needs three updates, and applies before clipping. |

Every client whose update was clipped or zeroed is named in the figures of the round, in the commit and in the report.
The arrays that clients send beside the weights for some strategies are not clipped.

## Partial work

With FedProx and FedNova, partial work is accepted: a client that reaches `round_deadline_s` while it trains sends the
model of the whole epochs that it has finished, and its manifest and the commit say how many these are. How far a client
comes depends on its machine, so such a training cannot be repeated bit for bit; the model of its round can. With the
other strategies, a client that passes its deadline is left out of the round.
"""

OWN = f"""\
## Your own strategy

A strategy is a class in a package of your own, which must be installed where the steps run and where runs are verified.
The fields of the class are the parameters of the strategy:

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
        damped = {{
            name: (base[name] + self.step * (array - base[name])).astype(array.dtype) for name, array in mean.items()
        }}
        return Aggregated(damped, figures={{"step": self.step}})
```

The package offers the strategy through an entry point:

```toml
[project.entry-points."{GROUP}"]
FedDamped = "mine.strategies:FedDamped"
```

`updates` can be read more than once; `updates.blocks()` yields the values of all clients block by block, which keeps
the memory small. A strategy that keeps something between rounds returns it as `state`. A strategy that needs its
clients' help returns a `LocalRule` from `local_rule()`: it determines what the clients add to the gradient of each
step, how they change the trained weights, which arrays they send back, and which they keep for their next round.
`broadcast()` returns the arrays that go out to the clients with the model.
"""


def strategies_page() -> str:
    """Return the text of docs/strategies.md, without the strategies of other packages."""
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
