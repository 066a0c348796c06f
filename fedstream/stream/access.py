"""The users of a secured broker and their access rights, with the least that a run and its data owners need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from kafka.admin import (
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ResourcePattern,
    ResourcePatternFilter,
    ResourceType,
)
from kafka.admin import UserScramCredentialDeletion as Deletion
from kafka.admin import UserScramCredentialUpsertion as Upsertion

from fedstream.errors import StreamError
from fedstream.stream.announcement import DATA_CONTROL_TOPIC, MODEL_CONTROL_TOPIC

if TYPE_CHECKING:
    from kafka import KafkaAdminClient

MECHANISM, ITERATIONS = "SCRAM-SHA-512", 8192

READ, WRITE, CREATE, CONFIGS = ACLOperation.READ, ACLOperation.WRITE, ACLOperation.CREATE, ACLOperation.DESCRIBE_CONFIGS
Right: TypeAlias = tuple[ResourceType, str, ACLOperation]


def rights_of_run(user: str) -> list[Right]:
    """Return the ACLs of the run's user.

    It can read every topic, announce models, and use topics and consumer groups whose names begin with its own.
    """
    everything = [(ResourceType.TOPIC, "*", operation) for operation in (READ, CONFIGS)]
    return [*everything, *_written(MODEL_CONTROL_TOPIC), *_written(f"{user}."), (ResourceType.GROUP, user, READ)]


def rights_of_owner(user: str) -> list[Right]:
    """Return the ACLs of a data owner.

    It can write and announce topics whose names begin with its own name and a dot, and read of finished models.
    """
    return [
        *_written(f"{user}."),
        *_written(DATA_CONTROL_TOPIC),
        (ResourceType.TOPIC, MODEL_CONTROL_TOPIC, READ),
        (ResourceType.GROUP, f"{user}.", READ),
    ]


def _written(topic: str) -> list[Right]:
    return [(ResourceType.TOPIC, topic, operation) for operation in (WRITE, CREATE)]


def acls(user: str, rights: Sequence[Right]) -> list[ACL]:
    """Return ACLs as Kafka's client expects them; a name that ends with a dot, or of a group, is a prefix."""
    exact, prefix = ACLResourcePatternType.LITERAL, ACLResourcePatternType.PREFIXED
    return [
        ACL(
            f"User:{user}",
            "*",
            operation,
            ACLPermissionType.ALLOW,
            ResourcePattern(kind, name, prefix if name.endswith(".") or kind is ResourceType.GROUP else exact),
        )
        for kind, name, operation in rights
    ]


def apply(broker: KafkaAdminClient, users: Mapping[str, str], wanted: Sequence[ACL]) -> list[str]:
    """Create users and ACLs, and return the users that were removed.

    Raises:
        StreamError: The broker rejects a user or an ACL.
    """
    there = broker.describe_user_scram_credentials()
    gone = sorted(there.keys() - users.keys())
    removed = [Deletion(user, info["mechanism"]) for user in gone for info in there[user]["credential_infos"]]
    results = broker.alter_user_scram_credentials(
        [*(Upsertion(user, MECHANISM, word, ITERATIONS) for user, word in users.items()), *removed]
    )
    if failed := {user: message for user, message in results.items() if message is not None}:
        raise StreamError(f"the broker rejects users: {failed}")
    if failed := broker.create_acls(list(wanted))["failed"]:
        raise StreamError(f"the broker rejects ACLs: {[error.__name__ for error in failed]}")
    if gone:
        anything = ResourcePatternFilter(ResourceType.ANY, None, ACLResourcePatternType.ANY)
        broker.delete_acls(
            [ACLFilter(f"User:{user}", None, ACLOperation.ANY, ACLPermissionType.ANY, anything) for user in gone]
        )
    return gone
