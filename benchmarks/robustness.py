"""The accuracy of every strategy under attack, and on clients whose classes differ: the digits, simulated.

python -m benchmarks.robustness
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import fedstream
from fedstream.aggregation.registry import make_strategy, strategy_names
from fedstream.errors import FedstreamError
from fedstream.report.view import build_view
from fedstream.store.memory import MemoryStore

RESULT = Path(__file__).parents[1] / "build" / "robustness.json"
COMMON: dict[str, Any] = {"clients": 10, "rounds": 20, "batch_size": 10, "progress": False}

ROBUST: dict[str, dict[str, Any]] = {
    "Krum": {"byzantine": 3},
    "MultiKrum": {"byzantine": 3},
    "Bulyan": {"byzantine": 1},  # 10 clients allow no more
    "FedTrimmedAvg": {"beta": 0.34},
}
"""strategy -> parameters for 3 attackers of 10; the others keep their defaults."""

CLIPPINGS: dict[str, dict[str, Any]] = {"norm 0.5": {"norm": 0.5}, "zero_above 2": {"zero_above": 2.0}}

ATTACKS: dict[str, dict[str, Any]] = {
    "none": {},
    **{
        attack: {"attack": attack, "attackers": 3}
        for attack in ("labelflip", "signflip:5", "scaled", "nan", "freerider", "colluding")
    },
}
PARTITIONS: dict[str, dict[str, Any]] = {
    "iid": {"partition": "iid"},
    "Dirichlet 0.5": {"partition": "dirichlet:0.5"},
    "Dirichlet 0.1": {"partition": "dirichlet:0.1"},
    "1 class": {"partition": "shards:1"},
    "2 classes": {"partition": "shards:2"},
    "3 classes": {"partition": "shards:3"},
}

NIID_BENCH = {
    "FedAvg": ("99.1", "98.9", "–", "19.3", "96.9", "97.9"),
    "SCAFFOLD": ("99.1", "99.1", "–", "9.9", "96.9", "97.9"),
    "FedProx": ("99.2", "99.0", "–", "51.8", "96.9", "97.9"),
    "FedNova": ("99.1", "98.0", "–", "52.6", "96.7", "97.6"),
}
"""Flower's niid_bench, another task: MNIST, CNN, 10 clients, 50 rounds of 10 epochs, batches of 64; best round."""

Settings = Mapping[str, dict[str, Any]]
"""name of a setting -> further arguments of `simulate`."""

Outcomes = dict[str, dict[str, list[float]]]
"""way of training -> setting -> accuracy after each round; fewer than all rounds if the run stopped."""


def main() -> None:
    """Print the tables, and write all accuracies to RESULT."""
    attacks, partitions = outcomes(ATTACKS), outcomes(PARTITIONS)
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps({"attacks": attacks, "partitions": partitions}, indent=1), encoding="utf-8")
    print("Accuracy in % after the last round, by attack:\n")
    print(table(ATTACKS, {way: [last(found[name]) for name in ATTACKS] for way, found in attacks.items()}))
    print("\nBest accuracy in % of the rounds, by partition:\n")
    print(table(PARTITIONS, {way: [best(found[name]) for name in PARTITIONS] for way, found in partitions.items()}))
    print("\nFlower's niid_bench, another task:\n")
    print(table(PARTITIONS, NIID_BENCH))


def ways() -> dict[str, dict[str, Any]]:
    """Return the ways of training: name -> arguments of `simulate`."""
    found = {name: _way(name) for name in strategy_names()}
    for name, clipping in CLIPPINGS.items():
        found[f"FedAvg, clipping {name}"] = _way("FedAvg") | {"clipping": clipping}
    return found


def _way(name: str) -> dict[str, Any]:
    config = ROBUST.get(name, {})
    quorum = make_strategy(name, config).fewest()
    return {"model": "builtin:digits-mlp", "strategy": name, "strategy_config": config, "min_clients": quorum}


def outcomes(settings: Settings) -> Outcomes:
    """Train in every way in every setting."""
    return {way: dict(_row(way, values, settings)) for way, values in ways().items()}


def _row(way: str, values: dict[str, Any], settings: Settings) -> Iterator[tuple[str, list[float]]]:
    store, digits = MemoryStore(), fedstream.load_dataset("digits")
    for number, (name, setting) in enumerate(settings.items()):
        run = f"run-{number}"
        try:
            fedstream.simulate(
                digits.x_train,
                digits.y_train,
                test=(digits.x_test, digits.y_test),
                store=store,
                name=run,
                **COMMON | values | setting,
            )
        except FedstreamError as error:
            print(f"{way}, {name}: {str(error)[:200]}", file=sys.stderr)
        trained = [item for item in build_view(store, run).rounds if item.commit.kind == "training"]
        accuracies = [item.metrics.values["accuracy"] for item in trained if item.metrics]
        print(f"{way}, {name}: {last(accuracies)}", file=sys.stderr)
        yield name, accuracies


def last(accuracies: list[float]) -> str:
    """Return the accuracy after the last round in %, or the round in which the run stopped."""
    done = len(accuracies)
    return f"{100 * accuracies[-1]:.1f}" if done == COMMON["rounds"] else f"stopped in {done + 1}"


def best(accuracies: list[float]) -> str:
    """Return the highest accuracy in %; a dash if no round was measured."""
    return f"{100 * max(accuracies):.1f}" if accuracies else "–"


def table(columns: Mapping[str, Any], rows: Mapping[str, Any]) -> str:
    """Return a Markdown table."""
    head = [f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    return "\n".join([*head, *(f"| {name} | {' | '.join(cells)} |" for name, cells in rows.items())])


if __name__ == "__main__":
    main()
