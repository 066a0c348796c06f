"""Consumers and producers of kafka-python, whose errors become ours: which broker, which topic, what to do."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from fedstream.errors import BrokerError, TopicError
from fedstream.settings import KafkaSettings

if TYPE_CHECKING:
    from kafka import KafkaConsumer, KafkaProducer

CONNECT_S = 10.0
"""Seconds a broker may take to answer for the first time."""

REQUEST_MS = 30_000
"""Milliseconds one request may take."""

FETCH_BYTES = 8 * 1024 * 1024
"""Bytes asked for at a time: large enough that the round trips do not count."""


@contextmanager
def consumer(kafka: KafkaSettings) -> Iterator[KafkaConsumer]:
    """Open a consumer without a group, for reading exact offsets."""
    from kafka import KafkaConsumer

    with explained(kafka):
        reader = KafkaConsumer(
            **kafka.client_args(),
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed",
            bootstrap_timeout_ms=int(CONNECT_S * 1000),
            fetch_max_bytes=FETCH_BYTES * 4,
            max_partition_fetch_bytes=FETCH_BYTES,
            max_poll_records=10_000,
            check_crcs=True,
        )
        try:
            yield reader
        finally:
            with suppress(Exception):
                reader.close()


@contextmanager
def producer(kafka: KafkaSettings) -> Iterator[KafkaProducer]:
    """Open a producer that waits for all replicas; close it without losing what was sent."""
    with explained(kafka):
        writer = open_producer(kafka)
        try:
            yield writer
        finally:
            writer.close(timeout=REQUEST_MS / 1000)


def open_producer(kafka: KafkaSettings) -> KafkaProducer:
    """Return a producer with acks=all; the caller closes it."""
    from kafka import KafkaProducer

    with explained(kafka):
        return KafkaProducer(
            **kafka.client_args(), acks="all", linger_ms=5, batch_size=256 * 1024, bootstrap_timeout_ms=int(CONNECT_S * 1000), request_timeout_ms=REQUEST_MS
        )


@contextmanager
def explained(kafka: KafkaSettings) -> Iterator[None]:
    """Turn kafka-python's errors into BrokerError or TopicError."""
    from kafka import errors

    servers = kafka.bootstrap_servers
    try:
        yield
    except errors.TopicAuthorizationFailedError as error:
        raise BrokerError(f"user {kafka.username!r} may not use topic {_names(error)} at {servers}; ask the broker's owner for the right to read or write it") from error
    except errors.SaslAuthenticationFailedError as error:
        raise BrokerError(f"the brokers {servers} refuse user {kafka.username!r}: {error}; check KAFKA_USERNAME, KAFKA_PASSWORD and KAFKA_SASL_MECHANISM") from error
    except (errors.UnknownTopicOrPartitionError, errors.InvalidTopicError) as error:
        raise TopicError(f"there is no topic {_names(error)} at {servers}") from error
    except (errors.KafkaError, OSError) as error:
        raise BrokerError(f"the brokers {servers} do not answer as expected: {_reason(kafka, error)}") from error
    except ValueError as error:
        raise BrokerError(f"the brokers {servers} cannot be used: {error}; expected host:port[,host:port...]") from error


def _names(error: BaseException) -> str:
    return ", ".join(repr(argument) for argument in error.args) or "(unnamed)"


def _reason(kafka: KafkaSettings, error: BaseException) -> str:
    """Find out why there was no answer: kafka-python says "Unable to bootstrap" for a wrong password too."""
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    for server in kafka.bootstrap_servers.split(","):
        host, _, port = server.strip().rpartition(":")
        try:
            with socket.create_connection((host.strip("[]"), int(port)), timeout=2.0):
                break
        except (OSError, ValueError):
            continue
    else:
        return f"nothing listens there ({said}); check KAFKA_BOOTSTRAP_SERVERS and that the broker runs"
    if "bootstrap" in said.lower() and kafka.security_protocol.startswith("SASL"):
        return f"they accept connections, but not user {kafka.username!r} ({said}); check KAFKA_USERNAME, KAFKA_PASSWORD, KAFKA_SASL_MECHANISM and KAFKA_SECURITY_PROTOCOL"
    if "bootstrap" in said.lower():
        return f"they accept connections, but not as {kafka.security_protocol} ({said}); check KAFKA_SECURITY_PROTOCOL"
    return said
