"""A real MinIO server for tests, where one is installed."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import pytest
import urllib3

from fedstream.local.service import NotReadyError, Service
from fedstream.settings import StoreSettings


class MinioServer(Service):
    """A MinIO server of the tests' own, on free loopback ports."""

    name: ClassVar[str] = "minio"
    title: ClassVar[str] = "MinIO"
    port_names: ClassVar[tuple[str, ...]] = ("s3", "console")
    start_s: ClassVar[float] = 60.0
    stop_s: ClassVar[float] = 5.0

    @property
    def settings(self) -> StoreSettings:
        return StoreSettings(f"http://{self.address}", "minio-user", "minio-secret", "fedstream")

    def prepare(self) -> list[str]:
        ports = self.ports
        address, console = (f"127.0.0.1:{ports[name]}" for name in self.port_names)
        return [
            find_minio(),
            "server",
            str(self.folder / "data"),
            "--address",
            address,
            "--console-address",
            console,
            "--quiet",
        ]

    def environment(self) -> Mapping[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MINIO_", "AWS_"))}
        credentials = {"MINIO_ROOT_USER": self.settings.access_key, "MINIO_ROOT_PASSWORD": self.settings.secret_key}
        return inherited | credentials | {"HOME": str(self.folder), "MINIO_BROWSER": "off", "MINIO_UPDATE": "off"}

    def probe(self) -> None:
        answer = urllib3.request("GET", f"{self.settings.endpoint_url}/minio/health/ready", timeout=2, retries=False)
        if answer.status != 200:
            raise NotReadyError(f"it answers HTTP {answer.status}")


def find_minio() -> str:
    """Return the path of a MinIO server, or skip the test."""
    found = os.environ.get("MINIO_BIN") or shutil.which("minio")
    if not found and shutil.which("go"):
        gopath = subprocess.run(
            ["go", "env", "GOPATH"], capture_output=True, text=True, check=True, timeout=60
        ).stdout.strip()
        found = shutil.which("minio", path=str(Path(gopath) / "bin"))
    if not found:
        pytest.skip(
            "no MinIO server; `go install github.com/minio/minio@latest` builds one, "
            "or set MINIO_BIN to the path of its binary"
        )
    return found
