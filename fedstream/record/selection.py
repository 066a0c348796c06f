"""Which clients a round asks, how many must answer, and their seeds: pure functions of the spec and the round."""

from __future__ import annotations

import hashlib

from fedstream.record.spec import RunSpec


def client_seed(seed: int, round: int, client: str) -> int:
    """Return the seed of a client's work in a round, in [0, 2**31)."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{round}/{client}".encode()).digest()[:4], "big") >> 1


def select(spec: RunSpec, round: int, clients: list[str]) -> list[str]:
    """Return the clients to ask in a round, sorted: a pure function of seed and round, and at least the quorum."""
    drawn = sorted(clients, key=lambda client: hashlib.sha256(f"{spec.seed}/{round}/select/{client}".encode()).digest())
    return sorted(drawn[: clients_asked(spec, len(clients))])


def clients_asked(spec: RunSpec, clients: int) -> int:
    """Return how many clients each round asks: the fraction, with halves rounded up, and at least the quorum."""
    return min(clients, max(spec.min_clients, int(spec.client_fraction * clients + 0.5), 1))


def quorum(spec: RunSpec, asked: int) -> int:
    """Return how many accepted updates a round with `asked` clients needs.

    If the spec names clients, the round needs all asked clients, unless the spec sets another quorum.
    """
    return spec.min_clients or (asked if spec.clients else 1)
