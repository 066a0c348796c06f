"""Count the rounds that federated averaging takes on MNIST, beside those of McMahan et al. 2017 (arXiv 1602.05629).

100 clients, a tenth of them in each round, and the 10,000 test records measured after every round. A case stops in the
first round whose accuracy reaches the target. It is kept in build/mcmahan: the same command continues a case that was
stopped, and shows the ones that are done.

python -m benchmarks.mcmahan mnist.npz [CASE ...]
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import fedstream
from fedstream.cli.output import print_table
from fedstream.record.decision import measurements
from fedstream.simulation.source import read_source
from fedstream.store.state import RunState

FOLDER = Path("build") / "mcmahan"
METRIC = "accuracy"
DAY_S = 86_400.0
"""Time that a client has in each round, so that no figure depends on how fast the machine is."""


@dataclass(frozen=True)
class Case:
    """A row of the paper's tables 1, 2 and 4.

    Attributes:
        model: A built-in model.
        partition: How the 60,000 records are dealt to the 100 clients.
        epochs: Passes of a client over its records in a round, E in the paper; its batches have 10 records.
        target: Accuracy on the test records at which the case stops.
        paper: Number of rounds in the paper.
        most: Number of rounds after which the case is given up.
        learning_rate: Learning rate of the clients' SGD. The paper tuned it for every row and does not name it.
        threads: Number of TensorFlow threads. For batches this small, only convolutions gain from a second one.
    """

    model: str
    partition: str
    epochs: int
    target: float
    paper: int
    most: int
    learning_rate: float = 0.1
    threads: int = 1


CASES = {
    "2nn-iid-e1": Case("builtin:mnist-2nn", "iid", 1, 0.97, paper=87, most=150),
    "2nn-shards-e1": Case("builtin:mnist-2nn", "shards:2", 1, 0.97, paper=664, most=700),
    "2nn-iid-e10": Case("builtin:mnist-2nn", "iid", 10, 0.97, paper=34, most=60),
    "cnn-iid-e5": Case("builtin:mnist-cnn", "iid", 5, 0.99, paper=20, most=50, threads=2),
    "cnn-iid-e1": Case("builtin:mnist-cnn", "iid", 1, 0.99, paper=34, most=80, threads=2),
}


def main() -> None:
    """Print the table, and write build/mcmahan/SEED/CASE.json for each case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", help="an .npz file with x_train, y_train, x_test and y_test")
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--seed", type=int, default=0, help="seed of the partition, the selection and the order")
    options = parser.parse_args()
    if unknown := [name for name in options.cases if name not in CASES]:
        parser.error(f"there is no case {unknown[0]!r}; there are {', '.join(CASES)}")
    rows = []
    for name in options.cases or CASES:
        case, curve = CASES[name], accuracies(options.dataset, name, options.seed)
        path = FOLDER / str(options.seed) / f"{name}.json"
        path.write_text(json.dumps(asdict(case) | {"seed": options.seed, METRIC: curve}, indent=1), encoding="utf-8")
        rows.append((name, case.target, case.paper, rounds_to(case.target, curve) or f"over {len(curve)}", max(curve)))
    print_table("rounds to the target", ["case", "target", "paper", "fedstream", "best accuracy"], rows)


def accuracies(dataset: str, name: str, seed: int) -> list[float]:
    """Run a case, or continue it, and return the accuracy after each round."""
    case, source = CASES[name], read_source(dataset)
    fields: dict[str, Any] = {
        "rounds": case.most,
        "epochs": case.epochs,
        "learning_rate": case.learning_rate,
        "target_value": case.target,
        "threads": case.threads,
    }
    result = fedstream.simulate(
        source.x.reshape(-1, 28, 28),
        source.y,
        test=source.test and (source.test[0].reshape(-1, 28, 28), source.test[1]),
        model=case.model,
        clients=100,
        partition=case.partition,
        name=name,
        store=FOLDER / str(seed),
        seed=seed,
        client_fraction=0.1,
        batch_size=10,
        target_metric=METRIC,
        round_deadline_s=DAY_S,
        **fields,
    )
    measured = measurements(RunState(result.store, name).ledger.commits(), METRIC)
    return [accuracy for round, accuracy in measured if round > 0]


def rounds_to(target: float, curve: list[float]) -> int | None:
    """Return the number of the first round that reaches the target, counted from 1; None if none does."""
    return next((number for number, accuracy in enumerate(curve, 1) if accuracy >= target), None)


if __name__ == "__main__":
    main()
