"""Strategies of another package, as an installation would offer them, and updates made of plain arrays."""

from fractions import Fraction

import numpy as np
from pydantic import Field

from fedstream.aggregation.fedavg import FedAvg, federated_average
from fedstream.aggregation.strategy import Aggregated, Strategy
from fedstream.aggregation.updates import Update, Updates
from fedstream.record.extras import ArraySpec, spec_of
from fedstream.record.local_rule import Finished, LocalRule


def updates_of(*clients):
    """Return the updates of clients c0, c1, ...; each is (num_examples, weights), or (num_examples, weights,
    extras).
    """
    return Updates(Update(f"c{number}", *client) for number, client in enumerate(clients))


def rounds_of(strategy, base, rounds):
    """Return (weights, state) after some rounds; each is a list of (num_examples, values of `w`)."""
    weights, state = {"w": np.array(base, np.float32)}, {}
    for clients in rounds:
        updates = updates_of(*[(examples, {"w": np.array(values, np.float32)}) for examples, values in clients])
        made = strategy.aggregate(weights, updates, state)
        weights, state = made.weights, made.state
    return weights["w"], state


def krum_reference(rows, byzantine, count, among=None):
    """Return the clients with the lowest scores of Krum, in fractions; of equal scores, the first ones."""
    among = range(len(rows)) if among is None else among
    exact = [[Fraction(float(value)) for value in np.atleast_1d(row)] for row in rows]

    def square(one, other):
        return sum((a - b) ** 2 for a, b in zip(exact[one], exact[other], strict=True))

    neighbours = len(among) - byzantine - 2
    scores = {
        one: sum(sorted(square(one, other) for other in among if other != one)[: max(neighbours, 0)]) for one in among
    }
    return sorted(sorted(among, key=lambda one: (scores[one], one))[:count])


class Variates(LocalRule):
    """SCAFFOLD's correction (Karimireddy et al. 2020, option II) for clients without a state of their own:
    c_i is 0 when a round begins.
    """

    corrects = True

    def gradient(self, name, value, start, received, state):
        return received[f"c/{name}"]

    def returns(self, base):
        return {f"c/{name}": spec_of(array) for name, array in base.items()}

    def finish(self, training):
        steps = np.float32(training.steps * training.learning_rate)
        change = {name: (training.start[name] - array) / steps for name, array in training.trained.items()}
        extras = {f"c/{name}": change[name] - training.received[f"c/{name}"] for name in change}
        return Finished(training.trained, extras)


class FedVariates(Strategy):
    """The mean, with control variates that go out and come back."""

    paper = "Karimireddy et al. 2020, arXiv 1910.06378"
    when = "Tests of arrays that travel."

    rate: float = Field(1.0, gt=0, le=1, description="Step of the server's variate.")

    def local_rule(self):
        return Variates()

    def broadcast(self, weights, state):
        return state or {f"c/{name}": np.zeros_like(array) for name, array in weights.items()}

    def aggregate(self, base, updates, state):
        old = state or self.broadcast(base, {})
        mean = federated_average([(1, update.extras) for update in updates])
        new = {name: (old[name] + np.float32(self.rate) * mean[name]).astype(np.float32) for name in old}
        return Aggregated(
            federated_average(updates.weighted), new, {"clients": float(len(updates)), "first": updates[0].client}
        )


class LocalNoise(LocalRule):
    """Gaussian noise that a client adds before its weights leave it."""

    def finish(self, training):
        rng = np.random.default_rng(training.seed)
        return Finished(
            {
                name: (array + rng.normal(0, 0.01, array.shape)).astype(array.dtype)
                for name, array in training.trained.items()
            }
        )


class Counting(LocalRule):
    """Counts, in what the client keeps, the rounds in which its update was accepted, and shows it in the bias."""

    def keeps(self, base):
        return {"seen": ArraySpec((1,), "int64")}

    def finish(self, training):
        seen = training.state.get("seen", np.zeros(1, np.int64)) + 1
        return Finished(
            training.trained | {"bias": training.trained["bias"] + np.float32(seen[0] / 1000)}, {}, {"seen": seen}
        )


class FedCounting(FedAvg):
    """The mean of clients that count their rounds."""

    paper = "none"
    when = "Tests of what clients keep."

    def local_rule(self):
        return Counting()


def install(folder, package="elsewhere", value="support.strategies:FedVariates", name="FedVariates"):
    """Make a folder that, on Python's path, is an installed package which offers a strategy."""
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[fedstream.strategies]\n{name} = {value}\n")
    return folder
