"""Create the broker's users and their ACLs from the Secrets: the run's user, and one user for each data owner.

Run this again after a change of the Secrets. A user that is no longer in any of them loses its password and its ACLs.
ACLs that were added to a remaining user by other means are kept.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from kafka import KafkaAdminClient
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

from fedstream.errors import FedstreamError, SettingsError, StreamError
from fedstream.settings import KafkaSettings
from fedstream.stream.announcement import DATA_CONTROL_TOPIC, MODEL_CONTROL_TOPIC
from fedstream.stream.client import admin

OWNERS, RUN = Path("/etc/kafka-users"), Path("/etc/fedstream/kafka")
MECHANISM, ITERATIONS = "SCRAM-SHA-512", 8192
WAIT_S = 300.0
"""Seconds to wait until the broker has started."""
PAUSE_S = 2.0
"""Seconds between two attempts."""

READ, WRITE, CREATE, CONFIGS = ACLOperation.READ, ACLOperation.WRITE, ACLOperation.CREATE, ACLOperation.DESCRIBE_CONFIGS
Right = tuple[ResourceType, str, ACLOperation]


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


def acls(user: str, rights: list[Right]) -> list[ACL]:
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


def passwords(folder: Path) -> dict[str, str]:
    """Return the password of each data owner's user.

    Raises:
        SettingsError: A name or a password is invalid.
    """
    files = (
        {path.name: path for path in sorted(folder.iterdir()) if not path.name.startswith("..")}
        if folder.is_dir()
        else {}
    )
    for name in files:
        if not re.fullmatch("[a-z0-9][a-z0-9-]{0,62}", name) or name == "admin":
            raise SettingsError(
                f"secret kafka-users: {name!r} is not a valid user of a data owner; use lowercase letters, "
                "digits and '-', but not 'admin'"
            )
    return {name: checked(path) for name, path in files.items()}


def checked(path: Path) -> str:
    """Return the password in a file, which must not end with a line break: the client's password would differ."""
    text = path.read_text(encoding="utf-8")
    if len(text) < 8 or text.strip() != text:
        raise SettingsError(
            f"the password in {path} is shorter than 8 characters or has white space around it; "
            "create it with `printf`, not `echo`"
        )
    return text


def apply(broker: KafkaAdminClient, users: Mapping[str, str], wanted: list[ACL]) -> list[str]:
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
    if failed := broker.create_acls(wanted)["failed"]:
        raise StreamError(f"the broker rejects ACLs: {[error.__name__ for error in failed]}")
    if gone:
        anything = ResourcePatternFilter(ResourceType.ANY, None, ACLResourcePatternType.ANY)
        broker.delete_acls(
            [ACLFilter(f"User:{user}", None, ACLOperation.ANY, ACLPermissionType.ANY, anything) for user in gone]
        )
    return gone


def main() -> None:
    """Wait for the broker and create the users."""
    run, owners = (RUN / "username").read_text(encoding="utf-8"), passwords(OWNERS)
    if run in (*owners, "admin"):
        raise SettingsError(
            f"secret fedstream-kafka: the run's user {run!r} must differ from those of the data owners and from 'admin'"
        )
    users = {run: checked(RUN / "password"), **owners}
    wanted = acls(run, rights_of_run(run)) + [acl for owner in owners for acl in acls(owner, rights_of_owner(owner))]
    kafka, deadline = KafkaSettings.from_env(os.environ), time.monotonic() + WAIT_S
    while True:
        try:
            with admin(kafka) as broker:
                gone = apply(broker, users, wanted)
            break
        except StreamError as error:
            if time.monotonic() > deadline:
                raise
            print(error, flush=True)
            time.sleep(PAUSE_S)
    print(f"users: {', '.join(users)}; removed: {', '.join(gone) or 'none'}; rights: {len(wanted)}")


if __name__ == "__main__":
    try:
        main()
    except (FedstreamError, OSError) as error:
        sys.exit(str(error))
