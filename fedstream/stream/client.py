"""Consumers, producers and admin clients of kafka-python.

Their errors become fedstream's errors, which name the broker and the topic and say what to do.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from fedstream.errors import BrokerAway, BrokerError, RecordError, SettingsError, StreamError, TopicError
from fedstream.settings import KafkaSettings
from fedstream.stream.diagnosis import LastFailure, why_no_login, why_refused
from fedstream.stream.records import RecordSize
from fedstream.stream.tls import tls_context

if TYPE_CHECKING:
    from kafka import KafkaAdminClient, KafkaProducer

    from fedstream.stream.holes import WatchingConsumer

CONNECT_S = 10.0
"""Time limit for the first answer of a broker, in seconds."""

REQUEST_MS = 30_000
"""Time limit for one request, in milliseconds."""

CLOSE_S = 1.0
"""Time limit for closing a client, in seconds. Everything that a caller waits for has been sent before."""

SESSION_MS = 10_000
"""Time until the partitions of a dead group member are reassigned, in milliseconds."""

POLL_RECORDS = 10_000
"""Maximum number of records of one poll. Deadlines are checked between polls."""

POLL_BYTES = 32 * 1024 * 1024
"""Maximum size of one poll in bytes, if the size of the records is known."""

FETCH_BYTES = 1024 * 1024
"""Bytes of one fetch request. What is fetched beyond the end of a block is read in vain, so they are not large."""

CHECK = "check KAFKA_BOOTSTRAP_SERVERS, KAFKA_SECURITY_PROTOCOL and that the broker runs"
STRANGER = (
    "check that the broker runs, and put what it asks for into KAFKA_CREDENTIALS_FILE: "
    "this run's own credentials were made for another cluster"
)

Client = TypeVar("Client")

# kafka-python logs each failed attempt as an error. Users should only see the one error that explains what is wrong;
# to see the others, add a handler. At level DEBUG, kafka-python logs passwords.
logging.getLogger("kafka").propagate = False
logging.getLogger("kafka").setLevel(logging.INFO)
logging.getLogger("kafka").addHandler(logging.NullHandler())


@contextmanager
def admin(kafka: KafkaSettings) -> Iterator[KafkaAdminClient]:
    """Open an admin client. Unlike a consumer, it never creates a topic by requesting its metadata."""
    from kafka import KafkaAdminClient

    opened = _open(kafka, KafkaAdminClient, request_timeout_ms=REQUEST_MS)
    try:
        with explained(kafka):
            yield opened
    finally:
        with suppress(Exception):
            opened.close()


@contextmanager
def consumer(
    kafka: KafkaSettings, group: str = "", size: RecordSize | None = None, cut: bool = False
) -> Iterator[WatchingConsumer]:
    """Open a consumer.

    Args:
        kafka: Connection settings of the brokers.
        group: Consumer group to join, beginning with the oldest record; empty to read exact offsets of existing topics.
        size: Maximum size of a record, beyond which polling raises OversizedPart; None for no limit.
        cut: Whether to truncate larger keys and values to one byte more than the limit instead of raising an error.
    """
    from fedstream.stream.holes import WatchingConsumer
    from fedstream.stream.limits import AtMost, bound_inflation

    bound_inflation()
    checks = (
        {"value_deserializer": AtMost(size.value, "value", cut), "key_deserializer": AtMost(size.key, "key", cut)}
        if size
        else {}
    )
    member = {"group_id": group, "session_timeout_ms": SESSION_MS} if group else {}
    opened = _open(
        kafka,
        WatchingConsumer,
        **member,
        **checks,
        enable_auto_commit=False,
        auto_offset_reset="earliest" if group else "none",
        isolation_level="read_committed",
        request_timeout_ms=REQUEST_MS,
        fetch_max_bytes=FETCH_BYTES * 4,
        max_partition_fetch_bytes=FETCH_BYTES,
        max_poll_records=max(1, min(POLL_RECORDS, POLL_BYTES // (size.total or 1))) if size else POLL_RECORDS,
        metrics_enabled=False,
    )
    try:
        with explained(kafka):
            yield opened
    finally:
        with suppress(Exception):
            opened.close(timeout_ms=int(CLOSE_S * 1000))


def open_producer(kafka: KafkaSettings, idempotent: bool = True) -> KafkaProducer:
    """Return a producer that waits for all replicas and preserves the order of records. The caller must close it.

    Args:
        kafka: Connection settings of the brokers.
        idempotent: Whether to store each record exactly once even if a response is lost. A record that is too large for
            its topic then makes the producer fail for all other records.
    """
    from kafka import KafkaProducer

    return _open(
        kafka,
        KafkaProducer,
        acks="all",
        enable_idempotence=idempotent,
        max_in_flight_requests_per_connection=5 if idempotent else 1,
        linger_ms=5,
        batch_size=256 * 1024,
        request_timeout_ms=REQUEST_MS,
        max_block_ms=REQUEST_MS,
        delivery_timeout_ms=2 * REQUEST_MS,
    )


def close_producer(opened: KafkaProducer) -> None:
    """Close a producer within a few seconds, even if it still holds records."""
    from kafka.errors import KafkaError

    try:
        opened.close(timeout=CLOSE_S)
    except KafkaError:
        # If records are left, kafka-python 3.0 stops halfway and its thread keeps running. Drop the records, then
        # close.
        opened._sender.force_close()
        with suppress(KafkaError):
            opened.close(timeout=CLOSE_S)


def _open(kafka: KafkaSettings, make: Callable[..., Client], **args: Any) -> Client:
    args |= _login(kafka)
    failure = LastFailure()
    logger = logging.getLogger("kafka.net.manager")
    logger.addHandler(failure)
    try:
        return make(**kafka.client_args(), **args, bootstrap_timeout_ms=int(CONNECT_S * 1000))
    except ValueError as error:
        raise SettingsError(
            f"the brokers {kafka.bootstrap_servers!r} cannot be used: {error}; expected host:port[,host:port...]"
        ) from error
    except Exception as error:
        found = failure.error or error
        raise (why_refused(kafka, found) or _translated(kafka, found)) from error
    finally:
        logger.removeHandler(failure)


def _login(kafka: KafkaSettings) -> dict[str, Any]:
    """Return what kafka-python needs beside plain values: what TLS trusts, and where tokens come from."""
    args: dict[str, Any] = {}
    if kafka.security_protocol.endswith("SSL"):
        args["ssl_context"] = tls_context(kafka)
    if kafka.sasl_mechanism == "OAUTHBEARER":
        from fedstream.stream.oauth import token_provider

        args["sasl_oauth_token_provider"] = provider = token_provider(kafka)
        provider.token()  # so that its errors are raised here, and not in the thread of the client
    return args


@contextmanager
def explained(kafka: KafkaSettings) -> Iterator[None]:
    """Translate kafka-python's errors into fedstream's errors."""
    from kafka.errors import KafkaError

    try:
        yield
    except KafkaError as error:
        raise _translated(kafka, error) from error


def _translated(kafka: KafkaSettings, error: Exception) -> StreamError:
    from kafka import errors

    servers, said = kafka.bootstrap_servers, str(error) or type(error).__name__
    if isinstance(error, errors.TopicAuthorizationFailedError):
        return unauthorized(kafka, _topic(error))
    if isinstance(error, errors.GroupAuthorizationFailedError):
        return BrokerError(
            f"{_user(kafka)} may not use consumer group {_topic(error)} at {servers}; "
            "ask the broker's owner for the right to read with it"
        )
    if isinstance(error, errors.UnknownTopicOrPartitionError | errors.InvalidTopicError):
        return TopicError(f"there is no such topic at {servers}: {_topic(error)}")
    if isinstance(error, errors.MessageSizeTooLargeError | errors.RecordListTooLargeError):
        return RecordError(f"a record is too large for the brokers {servers} ({said}); send smaller samples")
    if refused := why_no_login(kafka, error):
        return refused
    advice = STRANGER if kafka.stranger else CHECK
    silent = f"the brokers {servers} do not answer as {kafka.security_protocol} ({said}); {advice}"
    if isinstance(error, errors.KafkaConnectionError | errors.KafkaTimeoutError | errors.NodeNotReadyError | OSError):
        return BrokerAway(silent)
    if isinstance(error, errors.KafkaProtocolError):  # for example, if the bytes of a TLS alert are read as a length
        return BrokerError(silent)
    kind = BrokerAway if isinstance(error, errors.RetriableError) else BrokerError
    return kind(f"the brokers {servers} do not answer as expected ({said})")


def unauthorized(kafka: KafkaSettings, topic: str) -> BrokerError:
    """Return the error for a missing access right."""
    return BrokerError(
        f"{_user(kafka)} may not use topic {topic} at {kafka.bootstrap_servers}; "
        "ask the broker's owner for the right to read or write it"
    )


def _user(kafka: KafkaSettings) -> str:
    if kafka.username or not kafka.cert_file:
        return f"user {kafka.username!r}"
    return f"the holder of the certificate {kafka.cert_file!r}"


def _topic(error: Exception) -> str:
    named = error.args[0] if error.args else "(unnamed)"
    return (
        ", ".join(map(repr, sorted(map(str, named))))
        if isinstance(named, set | frozenset | list | tuple)
        else repr(named)
    )
