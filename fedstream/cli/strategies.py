"""`fedstream strategies`: what a run's strategy may be."""

from __future__ import annotations

from fedstream.aggregation.registry import Description, describe, strategy_names
from fedstream.cli.options import Json
from fedstream.cli.output import out, print_json, print_table, print_warnings
from fedstream.errors import SpecError


def strategies(json: Json = False) -> None:
    """List the strategies, by which updates become the next global model, with their parameters.

    A run names one with --strategy, and gives its parameters with --strategy-config:

        fedstream run --name first --model mine --strategy FedAdam --strategy-config '{"server_learning_rate": 0.05}'
    """
    found, broken = [], []
    for name in strategy_names():
        try:
            found.append(describe(name))
        except SpecError as error:
            broken.append(str(error))
    if json:
        print_json({"strategies": [about.as_json() for about in found], "broken": broken})
        return
    for about in found:
        _print(about)
    print_warnings(broken)


def _print(about: Description) -> None:
    out.print(about.name, style="bold", markup=False, highlight=False)
    for line in (about.summary, f"When: {about.when}", f"Paper: {about.paper}"):
        out.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)
    if about.parameters:
        rows = [
            (parameter.name, parameter.default, parameter.allowed, parameter.description)
            for parameter in about.parameters
        ]
        print_table(
            "", ["parameter", "default", "allowed", "meaning"], [[row[0], f"{row[1]}", *row[2:]] for row in rows]
        )
    out.print()
