"""Makes the broker's users and their rights what the secrets say: the run's user, and one user for each data owner.

Run again after a change of the secrets. A user that is in none of them any more loses its password and its rights; further rights that somebody
gave to a user that is in one stay.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from kafka import KafkaAdminClient
from kafka.admin import ACL, ACLFilter, ACLOperation, ACLPermissionType, ACLResourcePatternType, ResourcePattern, ResourcePatternFilter, ResourceType
from kafka.admin import UserScramCredentialDeletion as Deletion
from kafka.admin import UserScramCredentialUpsertion as Upsertion

from fedstream.errors import FedstreamError, SettingsError, StreamError
from fedstream.settings import KafkaSettings
from fedstream.stream.announcement import DATA_CONTROL_TOPIC, MODEL_CONTROL_TOPIC
from fedstream.stream.client import admin

OWNERS, RUN = Path("/etc/kafka-users"), Path("/etc/fedstream/kafka")
MECHANISM, ITERATIONS = "SCRAM-SHA-512", 8192
WAIT_S = 300.0
"""Seconds the broker may take to come up."""
PAUSE_S = 2.0
"""Seconds between two attempts."""

READ, WRITE, CREATE, CONFIGS = ACLOperation.READ, ACLOperation.WRITE, ACLOperation.CREATE, ACLOperation.DESCRIBE_CONFIGS
Right = tuple[ResourceType, str, ACLOperation]


def rights_of_run(user: str) -> list[Right]:
    """Read every topic, announce models, write topics and use consumer groups whose names begin with its own."""
    everything = [(ResourceType.TOPIC, "*", operation) for operation in (READ, CONFIGS)]
    return [*everything, *_written(MODEL_CONTROL_TOPIC), *_written(f"{user}."), (ResourceType.GROUP, user, READ)]


def rights_of_owner(user: str) -> list[Right]:
    """Write topics whose names begin with its own name and a dot, announce them, hear of finished models."""
    return [
        *_written(f"{user}."),
        *_written(DATA_CONTROL_TOPIC),
        (ResourceType.TOPIC, MODEL_CONTROL_TOPIC, READ),
        (ResourceType.GROUP, f"{user}.", READ),
    ]


def _written(topic: str) -> list[Right]:
    return [(ResourceType.TOPIC, topic, operation) for operation in (WRITE, CREATE)]


def acls(user: str, rights: list[Right]) -> list[ACL]:
    """Return Kafka's form of rights; a name that ends with a dot, and that of a group, stands for all that begin with it."""
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
    """Return the data owners' passwords by user.

    Raises:
        SettingsError: a name or a password cannot be one.
    """
    files = {path.name: path for path in sorted(folder.iterdir()) if not path.name.startswith("..")} if folder.is_dir() else {}
    for name in files:
        if not re.fullmatch("[a-z0-9][a-z0-9-]{0,62}", name) or name == "admin":
            raise SettingsError(f"secret kafka-users: {name!r} cannot be a data owner's user; use small letters, digits and '-', and not 'admin'")
    return {name: checked(path) for name, path in files.items()}


def checked(path: Path) -> str:
    """Return the password in a file; one with a line end would be another at the client."""
    text = path.read_text(encoding="utf-8")
    if len(text) < 8 or text.strip() != text:
        raise SettingsError(f"the password in {path} is shorter than 8 characters, or has white space around it; make it with `printf`, not `echo`")
    return text


def apply(broker: KafkaAdminClient, users: Mapping[str, str], wanted: list[ACL]) -> list[str]:
    """Make users and rights; return the users that were removed.

    Raises:
        StreamError: the broker refuses one.
    """
    there = broker.describe_user_scram_credentials()
    gone = sorted(there.keys() - users.keys())
    removed = [Deletion(user, info["mechanism"]) for user in gone for info in there[user]["credential_infos"]]
    results = broker.alter_user_scram_credentials([*(Upsertion(user, MECHANISM, word, ITERATIONS) for user, word in users.items()), *removed])
    if failed := {user: message for user, message in results.items() if message is not None}:
        raise StreamError(f"the broker refuses users: {failed}")
    if failed := broker.create_acls(wanted)["failed"]:
        raise StreamError(f"the broker refuses rights: {[error.__name__ for error in failed]}")
    if gone:
        anything = ResourcePatternFilter(ResourceType.ANY, None, ACLResourcePatternType.ANY)
        broker.delete_acls([ACLFilter(f"User:{user}", None, ACLOperation.ANY, ACLPermissionType.ANY, anything) for user in gone])
    return gone


def main() -> None:
    """Wait for the broker, and do it."""
    run, owners = (RUN / "username").read_text(encoding="utf-8"), passwords(OWNERS)
    if run in (*owners, "admin"):
        raise SettingsError(f"secret fedstream-kafka: the run's user {run!r} must be another than those of the data owners, and not 'admin'")
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
