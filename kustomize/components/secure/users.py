"""Create the broker's users and their ACLs from the Secrets: the run's user, and one user for each data owner.

Run this again after a change of the Secrets. A user that is no longer in any of them loses its password and its ACLs.
ACLs that were added to a remaining user by other means are kept.
"""

from __future__ import annotations

import os
import re
import sys
import time
from pathlib import Path

from fedstream.errors import FedstreamError, SettingsError, StreamError
from fedstream.settings import KafkaSettings
from fedstream.stream.access import acls, apply, rights_of_owner, rights_of_run
from fedstream.stream.client import admin

OWNERS, RUN = Path("/etc/kafka-users"), Path("/etc/fedstream/kafka")
WAIT_S = 300.0
"""Seconds to wait until the broker has started."""
PAUSE_S = 2.0
"""Seconds between two attempts."""


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
