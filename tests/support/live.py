"""Streams that grow, and live runs that follow them, in this process."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from support.inprocess import pictures

from fedstream.local.inprocess import run_inprocess
from fedstream.record.commit import Commit
from fedstream.record.offsets import OffsetRange, format_ranges, parse_ranges
from fedstream.steps.context import Context
from fedstream.stream.announcement import DATA_CONTROL_TOPIC, DataAnnouncement
from fedstream.stream.broker import Broker
from fedstream.stream.codec.raw import RawCodec
from fedstream.stream.memory import MemoryBroker
from fedstream.stream.records import UNLABELLED

SOON_S = 0.02
"""A time-out that lets tests end soon: what is there is found at once."""

SPEC: dict[str, Any] = {
    "run": "r",
    "model": "builtin:numpy-softmax",
    "rounds": 3,
    "batch_size": 10,
    "clients": ["north", "south"],
    "min_clients": 1,
    "feed": {"kind": "new", "at_least": 30, "at_most": 100, "timeout_s": SOON_S},
}

CODEC = RawCodec.from_sample(*(part[0] for part in pictures(0, 1)))


def grow(broker: Broker, client: str, records: int, seed: int = 0, topic: str = "") -> list[OffsetRange]:
    """Send records to a client's topic without announcing them, and return their offsets."""
    writer = broker.writer()
    for sample, label in zip(*pictures(seed, records), strict=True):
        writer.write(topic or client, *CODEC.encode(sample, np.asarray(label)))
    ranges = writer.flush()
    writer.close()
    return ranges


def announce(broker: Broker, client: str, what: str = "", **said: Any) -> None:
    """Announce a client's topic, or the given offsets."""
    values = {"input_format": "RAW", "input_config": CODEC.config(), "validation_rate": 0.2, "total_msg": None} | said
    writer = broker.writer()
    message = DataAnnouncement(topic=what or client, client=client, **values)
    writer.write(DATA_CONTROL_TOPIC, message.to_bytes(), UNLABELLED)
    writer.flush()
    writer.close()


def online(*clients: str) -> tuple[Context, MemoryBroker]:
    """Return a context in which clients have announced topics that have no records yet, and its broker."""
    context = Context.in_memory()
    broker = context.brokers.at("")
    assert isinstance(broker, MemoryBroker)
    for client in clients or SPEC["clients"]:
        announce(broker, client)
    return context, broker


def follow(context: Context, **fields: Any) -> int:
    """Submit the live run, in a new process that knows only the store and the brokers; return the version."""
    own = replace(Context.in_memory(), store=context.store, brokers=context.brokers)
    return run_inprocess(SPEC | fields, context=own)


def commits(context: Context) -> list[Commit]:
    """Return the commits of the run."""
    fresh = replace(Context.in_memory(), store=context.store, brokers=context.brokers)
    return fresh.run("r").ledger.commits()


def learned(context: Context, client: str) -> list[str]:
    """Return the ranges of each of a client's accepted updates."""
    return [
        format_ranges(parse_ranges(",".join(f"{r.topic}:{r.partition}:{r.start}:{r.end}" for r in entry.ranges)))
        for commit in commits(context)
        if commit.kind == "training"
        for entry in commit.clients
        if entry.client == client and entry.accepted
    ]
