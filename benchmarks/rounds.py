"""A round of many small clients in this process: what the first one costs, and what the next ones do."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from fedstream import steps
from fedstream.local.datasets import load_dataset
from fedstream.local.inprocess import NO_BUDGET, InProcess, remembering
from fedstream.local.partition import deal
from fedstream.local.platform import Platform
from fedstream.settings import KafkaSettings
from fedstream.steps.context import Context
from fedstream.steps.rounds import ROUND, run_round
from fedstream.steps.runtime import Step
from fedstream.stream.broker import Broker, KafkaBroker
from fedstream.stream.send import send_dataset


def main() -> None:
    """Print a table of seconds, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", default="builtin:digits-mlp")
    parser.add_argument(
        "--memory", action="store_true", help="the store and the streams in memory instead of SeaweedFS and Kafka"
    )
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    logging.getLogger("fedstream").setLevel(logging.WARNING)
    logging.basicConfig(level=logging.WARNING)
    if options.memory:
        context = remembering(Context.in_memory())
        figures = measure(context, context.brokers.at(""), options)
    else:
        with Platform() as platform:
            os.environ.update(platform.env)
            figures = measure(remembering(Context.from_env()), KafkaBroker(KafkaSettings.from_env()), options)
    print(json.dumps(figures) if options.json else table(figures))


def measure(context: Context, broker: Broker, options: argparse.Namespace) -> list[dict[str, float]]:
    """Run the rounds, and return the seconds of each by step; `round` is their sum."""
    name = f"bench-{uuid.uuid4().hex[:8]}"
    data = load_dataset("digits")
    owners = [f"{name}-{number}" for number in range(options.clients)]
    for owner, own in zip(owners, deal(data.y_train, options.clients, "iid"), strict=True):
        send_dataset(broker, owner, owner, data.x_train[own], data.y_train[own], validation_rate=0.1)
    spec = {"run": name, "model": options.model, "clients": owners, "rounds": options.rounds, "batch_size": 10}
    steps.plan_training.within(context, spec, NO_BUDGET)
    figures = []
    for slot in range(options.rounds):
        with timed() as spent:
            round, _ = steps.open_round.within(context, name, options.rounds, "bench", slot)
            run_round(InProcess(context, name, round, options.rounds, "bench"))
        figures.append({step: round_ms(spent[step]) for step in (*ROUND, "round")})
    return figures


@contextlib.contextmanager
def timed() -> Iterator[Counter[str]]:
    """Collect the seconds that each step takes."""
    spent: Counter[str] = Counter()
    real: Callable[..., Any] = Step._run

    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        began = time.perf_counter()
        try:
            return real(self, *args, **kwargs)
        finally:
            spent[self.__name__] += time.perf_counter() - began

    began = time.perf_counter()
    Step._run = run  # type: ignore[method-assign]
    try:
        yield spent
    finally:
        Step._run = real  # type: ignore[method-assign]
        spent["round"] = time.perf_counter() - began


def round_ms(seconds: float) -> float:
    return round(seconds, 4)


def table(figures: list[dict[str, float]]) -> str:
    """Return the first round, and the best and the median of the others, as a Markdown table of seconds."""
    warm = figures[1:] or figures
    lines = ["| seconds | first round | best warm | median warm |", "|---|---|---|---|"]
    for step in figures[0]:
        values = sorted(figure[step] for figure in warm)
        lines.append(f"| {step} | {figures[0][step]:.3f} | {values[0]:.3f} | {values[len(values) // 2]:.3f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
