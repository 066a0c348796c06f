"""Makes the store's users for clients what a secret says: `clients`, whose key the steps of all clients may use, and one for each site.

On MinIO it makes them. For SeaweedFS, which reads its users from a file, `store_users.py seaweedfs FOLDER` prints that file. Run it again after a
change of the secret.
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
"""The user for the steps of all clients; another one is that of the client of its name, and may do what concerns that client alone."""
WAIT_S = 300.0
"""Seconds the store may take to come up."""
PAUSE_S = 2.0
"""Seconds between two attempts."""


def policy(user: str, bucket: str, prefix: str) -> dict[str, Any]:
    """Return the rights of a user: read what a client's steps need, write its slices, updates and refusals, and nothing else."""
    text = string.Template(POLICY.read_text(encoding="utf-8"))
    return json.loads(text.substitute(ROOT=f"{bucket}/{prefix}", CLIENT="*" if user == EVERY_CLIENT else user))  # type: ignore[no-any-return]


def policy_name(user: str) -> str:
    """Return the name of the rights of a user; no other of the store's policies begins so."""
    return f"fedstream-client-{user}"


def access_key(user: str) -> str:
    """Return a user's access key, which is never that of the store's administrator."""
    return user if user == EVERY_CLIENT else f"client-{user}"


def keys(folder: Path) -> dict[str, str]:
    """Return the users' secret keys by user.

    Raises:
        SettingsError: a name or a key cannot be one.
    """
    users = {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.iterdir()) if not path.name.startswith(".")}
    for user, key in users.items():
        if not re.fullmatch(NAME, user):
            raise SettingsError(f"secret store-users: {user!r} cannot be a user; use a client's name, or {EVERY_CLIENT!r}")
        if not 8 <= len(key) <= 40 or key.strip() != key:
            raise SettingsError(f"secret store-users: the key of {user!r} has not 8 to 40 characters, or white space around it")
    return users


def seaweedfs(users: dict[str, str], admin: StoreSettings) -> dict[str, Any]:
    """Return the file of users that SeaweedFS reads (`weed server -s3.config`)."""

    def identity(name: str, access_key: str, secret_key: str, **rights: list[str]) -> dict[str, Any]:
        return {"name": name, "credentials": [{"accessKey": access_key, "secretKey": secret_key}], **rights}

    return {
        "identities": [
            identity("fedstream", admin.access_key, admin.secret_key, actions=["Admin"]),
            *(identity(user, access_key(user), key, policyNames=[policy_name(user)]) for user, key in users.items()),
        ],
        "policies": [{"name": policy_name(user), "content": json.dumps(policy(user, admin.bucket, admin.prefix))} for user in users],
    }


def apply(store: StoreSettings, users: dict[str, str]) -> list[str]:
    """Make users and rights on MinIO; return the users that were removed."""
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
    """Wait for the store, and do it; or print SeaweedFS' file."""
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
                raise StoreUnavailable(f"MinIO at {store.endpoint_url} does not make the users: {error}") from error
            print(error, flush=True)
            time.sleep(PAUSE_S)
    print(f"users: {', '.join(users) or 'none'}; removed: {', '.join(gone) or 'none'}")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (FedstreamError, OSError) as error:
        sys.exit(str(error))
