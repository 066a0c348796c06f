"""Create the store's users for clients from a Secret: `clients`, shared by the steps of all clients, and one per site.

On MinIO, the users are created directly. For SeaweedFS, which reads its users from a file,
`store_users.py seaweedfs FOLDER` prints that file. Run this again after a change of the Secret.
"""

from __future__ import annotations

import json
import os
import re
import string
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from minio.credentials import StaticProvider
from minio.error import MinioAdminException
from minio.minioadmin import MinioAdmin
from urllib3 import PoolManager, Retry
from urllib3.exceptions import HTTPError

from fedstream.errors import FedstreamError, SettingsError, StoreUnavailable
from fedstream.record.names import NAME
from fedstream.settings import StoreSettings

USERS = Path("/etc/store-users")
POLICY = Path(__file__).parent / "store-policy.json"
EVERY_CLIENT = "clients"
"""The user for the steps of all clients; any other user belongs to the client of its name and is limited to it."""
WAIT_S = 300.0
"""Seconds to wait until the store has started."""
PAUSE_S = 2.0
"""Seconds between two attempts."""


def policy(user: str, bucket: str, prefix: str) -> dict[str, Any]:
    """Return the policy of a user: read what a client's steps need, and write only its own objects of a round."""
    text = string.Template(POLICY.read_text(encoding="utf-8"))
    return json.loads(text.substitute(ROOT=f"{bucket}/{prefix}", CLIENT="*" if user == EVERY_CLIENT else user))  # type: ignore[no-any-return]


def policy_name(user: str) -> str:
    """Return the name of a user's policy; the names of the store's other policies do not have this prefix."""
    return f"fedstream-client-{user}"


def access_key(user: str) -> str:
    """Return the access key of a user, which is never that of the store's administrator."""
    return user if user == EVERY_CLIENT else f"client-{user}"


def keys(folder: Path) -> dict[str, str]:
    """Return the secret key of each user.

    Raises:
        SettingsError: A name or a key is invalid.
    """
    users = {
        path.name: path.read_text(encoding="utf-8")
        for path in sorted(folder.iterdir())
        if not path.name.startswith(".")
    }
    for user, key in users.items():
        if not re.fullmatch(NAME, user):
            raise SettingsError(
                f"secret store-users: {user!r} is not a valid user; use the name of a client, or {EVERY_CLIENT!r}"
            )
        if not 8 <= len(key) <= 40 or key.strip() != key:
            raise SettingsError(
                f"secret store-users: the key of {user!r} must have 8 to 40 characters, without white space around it"
            )
    return users


def seaweedfs(users: dict[str, str], admin: StoreSettings) -> dict[str, Any]:
    """Return the content of SeaweedFS' file of users (`weed server -s3.config`)."""

    def identity(name: str, access_key: str, secret_key: str, **rights: list[str]) -> dict[str, Any]:
        return {"name": name, "credentials": [{"accessKey": access_key, "secretKey": secret_key}], **rights}

    return {
        "identities": [
            identity("fedstream", admin.access_key, admin.secret_key, actions=["Admin"]),
            *(identity(user, access_key(user), key, policyNames=[policy_name(user)]) for user, key in users.items()),
        ],
        "policies": [
            {"name": policy_name(user), "content": json.dumps(policy(user, admin.bucket, admin.prefix))}
            for user in users
        ],
    }


def apply(store: StoreSettings, users: dict[str, str]) -> list[str]:
    """Create users and policies on MinIO, and return the users that were removed."""
    address = urlsplit(store.endpoint_url)
    minio = MinioAdmin(
        endpoint=address.netloc,
        credentials=StaticProvider(store.access_key, store.secret_key),
        region=store.region,
        secure=address.scheme == "https",
        http_client=PoolManager(timeout=10.0, retries=Retry(0)),
    )
    there = json.loads(minio.user_list())
    for user, key in users.items():
        minio.policy_add(policy_name(user), policy=policy(user, store.bucket, store.prefix))
        minio.user_add(access_key(user), key)
        minio.policy_set(policy_name(user), user=access_key(user))
    ours = {about.get("policyName", "").removeprefix(policy_name("")): name for name, about in there.items()}
    gone = sorted(user for user, name in ours.items() if name == access_key(user) and user not in users)
    for user in gone:
        minio.user_remove(access_key(user))
        minio.policy_remove(policy_name(user))
    return gone


def main(arguments: list[str]) -> None:
    """Wait for the store and create the users, or print SeaweedFS' file of users."""
    store, deadline = StoreSettings.from_env(os.environ), time.monotonic() + WAIT_S
    if arguments[:1] == ["seaweedfs"]:
        print(json.dumps(seaweedfs(keys(Path(arguments[1])), store), indent=2))
        return
    users = keys(USERS)
    while True:
        try:
            gone = apply(store, users)
            break
        except (MinioAdminException, HTTPError) as error:
            if time.monotonic() > deadline:
                raise StoreUnavailable(f"MinIO at {store.endpoint_url} does not create the users: {error}") from error
            print(error, flush=True)
            time.sleep(PAUSE_S)
    print(f"users: {', '.join(users) or 'none'}; removed: {', '.join(gone) or 'none'}")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (FedstreamError, OSError) as error:
        sys.exit(str(error))
