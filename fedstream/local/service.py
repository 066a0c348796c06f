"""One server of the embedded platform: start it, find it again, wait until it works, and stop it.

This module knows nothing of Kafka and S3.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ClassVar

from fedstream.errors import PlatformError
from fedstream.local import process
from fedstream.local.process import ProcessRecord
from fedstream.local.status import ServiceStatus

LAUNCHES = 3
"""Maximum number of launches: another program can take a port before it is used, but three times are no coincidence."""

REPAIR_S = 10.0
"""Seconds before a running server that does not work is restarted; longer than the delays of a busy machine."""


class NotReadyError(Exception):
    """A server does not work yet; used only while waiting."""


class Service(ABC):
    """A server whose data, log, ports and process record are in one folder.

    Args:
        folder: Folder of the server, which is created if it does not exist.
        bound: Whether the server ends with this process; otherwise it runs until it is stopped.
        say: Called with a line for each event.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    port_names: ClassVar[tuple[str, ...]]
    """Names of the ports; clients connect to the first one."""
    start_s: ClassVar[float]
    """Seconds from the launch until it must work, even on a slow and busy machine."""
    stop_s: ClassVar[float]
    """Seconds between SIGTERM and SIGKILL."""

    def __init__(self, folder: Path, *, bound: bool, say: Callable[[str], None]) -> None:
        self.folder = folder
        self.bound = bound
        self.say = say
        self._child: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def prepare(self) -> list[str]:
        """Write the files that the server needs to start with `self.ports`, and return its command line."""

    @abstractmethod
    def environment(self) -> Mapping[str, str]:
        """Return the environment of the server process."""

    @abstractmethod
    def probe(self) -> None:
        """Use the server as a client does.

        Raises:
            NotReadyError: The server does not work yet.
        """

    def clean(self) -> None:  # noqa: B027 - most servers leave nothing behind
        """Remove files that a server leaves outside its folder."""

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    @property
    def ports(self) -> dict[str, int]:
        """The ports of the current or last start, kept so that addresses stay valid; empty before the first."""
        try:
            ports = json.loads((self.folder / "ports.json").read_text())
        except (OSError, ValueError):
            return {}
        return ports if isinstance(ports, dict) and set(ports) == set(self.port_names) else {}

    @property
    def address(self) -> str:
        """`host:port` for clients; empty before the first start."""
        port = self.ports.get(self.port_names[0])
        return f"127.0.0.1:{port}" if port else ""

    @property
    def running(self) -> bool:
        """Whether the process is alive, regardless of who started it."""
        return self._process() is not None

    @property
    def launched(self) -> bool:
        """Whether this object started the process on record."""
        record = ProcessRecord.load(self._record_file)
        return record is not None and self._child is not None and record.pid == self._child.pid

    def start(self) -> None:
        """Start the server unless it is running, and wait until it works.

        Raises:
            PlatformError: The server cannot be started, ends at once, or does not work before the deadline.
        """
        self.begin()
        self.finish()

    def begin(self) -> None:
        """Launch the server unless it is running, without waiting for it."""
        record = self._process()
        if record is not None and record.abandoned:
            self.stop()
        elif record is not None and not process.wait_until(lambda: not self.problem(), REPAIR_S):
            self.say(f"{self.title} does not work ({self.problem()}); restarting it")
            self.stop()
        elif record is not None:
            self.say(
                f"{self.title} is already running" + (f", and ends with process {record.owner}" if record.owner else "")
            )
            return
        ports = self.ports
        self._launch(ports if ports and all(map(process.port_is_free, ports.values())) else self._new_ports())

    def finish(self) -> None:
        """Wait until the server works, and launch it on other ports if another program took one of them."""
        for _ in range(LAUNCHES - 1):
            if self._await_ready():
                return
            self.say(f"{self.title}: another program took a port; trying other ports")
            self.stop()
            self._launch(self._new_ports())
        if not self._await_ready():
            raise self._failure(
                f"found its ports in use {LAUNCHES} times in a row; check which program uses ports on 127.0.0.1"
            )

    def stop(self) -> None:
        """Stop the server and wait until it has ended; do nothing if it is not running."""
        record = ProcessRecord.load(self._record_file)
        if record is not None:
            process.stop(record, patience_s=self.stop_s)
        self._forget()

    def kill(self) -> None:
        """Kill the server with SIGKILL, like a crash; `start` restores it with the same address and data."""
        record = self._process()
        if record is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(record.pid, signal.SIGKILL)
            if not process.wait_until(lambda: not record.alive, process.KILL_S):
                raise PlatformError(
                    f"{self.title}: process {record.pid} does not end, even after SIGKILL; "
                    f"inspect it with `ps -fp {record.pid}`"
                )
        self._forget()

    def status(self) -> ServiceStatus:
        """Return the server's state after trying to use it, because parts of a living process can be dead."""
        record = self._process()
        if record is None:
            return ServiceStatus(
                self.name, self.title, external=False, running=False, address=self.address, data=str(self.folder)
            )
        uptime_s = max(0.0, time.time() - record.since)
        return ServiceStatus(
            self.name,
            self.title,
            False,
            True,
            self.address,
            record.pid,
            record.memory_bytes,
            uptime_s,
            str(self.folder),
            self.problem(),
        )

    def check_alive(self) -> None:
        """Raise a PlatformError with the end of the log if the server has ended."""
        if not self.running:
            raise self._failure("has ended")

    @property
    def _record_file(self) -> Path:
        return self.folder / "process.json"

    def _process(self) -> ProcessRecord | None:
        record = ProcessRecord.load(self._record_file)
        return record if record is not None and record.alive else None

    def _new_ports(self) -> dict[str, int]:
        return dict(zip(self.port_names, process.free_ports(len(self.port_names)), strict=True))

    def _launch(self, ports: dict[str, int]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        process.write_private(self.folder / "ports.json", json.dumps(ports))
        command = self.prepare()
        if self.log.exists():
            self.log.replace(self.log.with_suffix(".log.1"))
        self._child, record = process.spawn(
            command, log=self.log, env=self.environment(), bound=self.bound, patience_s=self.stop_s
        )
        record.save(self._record_file)

    def _await_ready(self) -> bool:
        """Wait until the server works; return False if a port is already in use."""
        end = time.monotonic() + self.start_s
        reason = "no server listens"
        while time.monotonic() < end:
            # Checked before the log, which is complete only after the process has ended.
            running = self.running
            if self._collided():
                return False
            if not running:
                raise self._failure("ended while it was starting")
            if not (reason := self.problem()):
                return True
            time.sleep(process.POLL_S)
        advice = "" if self.launched else "; it was already running: stop it with `fedstream services down`"
        raise self._failure(f"does not work after {self.start_s:.0f} s ({reason}){advice}")

    def _collided(self) -> bool:
        try:
            text = self.log.read_bytes().lower()
        except OSError:
            return False
        return self.launched and (b"address already in use" in text or b"failed to bind" in text)

    def problem(self) -> str:
        """Return why a client cannot use the server at the moment; empty if it can."""
        try:
            self._connect()
            self.probe()
        except Exception as error:  # noqa: BLE001 - any client error while the server starts or another answers
            return str(error) or type(error).__name__
        return ""

    def _connect(self) -> None:
        try:
            socket.create_connection(("127.0.0.1", self.ports[self.port_names[0]]), timeout=1).close()
        except OSError as error:
            raise NotReadyError("no server listens") from error

    def _forget(self) -> None:
        self._record_file.unlink(missing_ok=True)
        if self._child is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(process.KILL_S)
            self._child = None
        self.clean()

    def _failure(self, what: str) -> PlatformError:
        lines = process.tail(self.log)
        return PlatformError(
            f"{self.title} {what}; the end of {self.log}:\n{lines}"
            if lines
            else f"{self.title} {what}; {self.log} is empty"
        )
