"""One server of the embedded platform: start, find again, wait until it works, stop. Knows neither Kafka nor S3."""

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
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from fedstream.errors import PlatformError
from fedstream.local import process
from fedstream.local.process import ProcessRecord

LAUNCHES = 3
"""Another program can take a port between the moment it is chosen and the moment it is used; three times in a row it has another reason."""

REPAIR_S = 10.0
"""Seconds a server that runs may not work before it is started again: longer than a busy machine makes it wait."""


@dataclass(frozen=True)
class ServiceStatus:
    """What `fedstream services status` shows of one server.

    Attributes:
        name: `kafka` or `store`.
        title: name of the product.
        external: whether it is somebody else's, named by the environment.
        running: whether its process is alive; true for an external one, which is not looked at.
        problem: why it does not work, though its process is alive; empty if it does.
        address: where clients connect; empty before the first start.
        pid: process id, 0 when there is none.
        memory_bytes: resident memory.
        uptime_s: seconds since it was started.
        data: folder of its data and log; empty for an external one.
    """

    name: str
    title: str
    external: bool
    running: bool
    address: str
    pid: int = 0
    memory_bytes: int = 0
    uptime_s: float = 0.0
    data: str = ""
    problem: str = ""

    @property
    def state(self) -> str:
        if self.external:
            return "external"
        return "down" if not self.running else f"does not work: {self.problem}" if self.problem else "up"


class NotReadyError(Exception):
    """A server does not work yet; internal to the wait."""


class Service(ABC):
    """A server whose data, log, ports and process record are in one folder.

    Args:
        folder: made when missing.
        bound: whether the server ends with this process; otherwise it stays until it is stopped.
        say: told what is going on, one line at a time.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    port_names: ClassVar[tuple[str, ...]]
    """The first one is where clients connect."""
    start_s: ClassVar[float]
    """Deadline from launch until it works, on a slow and busy machine."""
    stop_s: ClassVar[float]
    """Patience before SIGKILL."""

    def __init__(self, folder: Path, *, bound: bool, say: Callable[[str], None]) -> None:
        self.folder = folder
        self.bound = bound
        self.say = say
        self._child: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def prepare(self) -> list[str]:
        """Write what the server needs to start with `self.ports`; return its command line."""

    @abstractmethod
    def environment(self) -> Mapping[str, str]:
        """Return the environment of the server process."""

    @abstractmethod
    def probe(self) -> None:
        """Use the server as a client would.

        Raises:
            NotReadyError: it does not work yet.
        """

    def clean(self) -> None:  # noqa: B027 - most servers leave nothing behind
        """Remove what a server that has ended leaves outside its folder."""

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    @property
    def ports(self) -> dict[str, int]:
        """The ports of this or the last start, empty before the first; they are kept, since addresses end up in people's notes."""
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
        """Whether the process is alive, whoever started it."""
        return self._process() is not None

    @property
    def launched(self) -> bool:
        """Whether it was this object that started the process on record."""
        record = ProcessRecord.load(self._record_file)
        return record is not None and self._child is not None and record.pid == self._child.pid

    def start(self) -> None:
        """Start the server, or find it running, and wait until it works.

        Raises:
            PlatformError: it cannot be started, ends at once, or does not work before the deadline.
        """
        self.begin()
        self.finish()

    def begin(self) -> None:
        """Launch the server unless it runs, without waiting for it."""
        record = self._process()
        if record is not None and record.abandoned:
            self.stop()
        elif record is not None and not process.wait_until(lambda: not self.problem(), REPAIR_S):
            self.say(f"{self.title} does not work ({self.problem()}), starting it again")
            self.stop()
        elif record is not None:
            self.say(f"{self.title} is running already" + (f", and ends with process {record.owner}" if record.owner else ""))
            return
        ports = self.ports
        self._launch(ports if ports and all(map(process.port_is_free, ports.values())) else self._new_ports())

    def finish(self) -> None:
        """Wait until the server works; launch it again on other ports when somebody took one of them."""
        for _ in range(LAUNCHES - 1):
            if self._await_ready():
                return
            self.say(f"{self.title}: another program took a port, trying others")
            self.stop()
            self._launch(self._new_ports())
        if not self._await_ready():
            raise self._failure(f"found a port taken {LAUNCHES} times in a row; see what takes ports on 127.0.0.1")

    def stop(self) -> None:
        """Stop the server and wait until it has ended; nothing happens when it is not running."""
        record = ProcessRecord.load(self._record_file)
        if record is not None:
            process.stop(record, patience_s=self.stop_s)
        self._forget()

    def kill(self) -> None:
        """End the server at once with SIGKILL, as a crash does; `start` brings it back with the same address and data."""
        record = self._process()
        if record is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(record.pid, signal.SIGKILL)
            if not process.wait_until(lambda: not record.alive, process.KILL_S):
                raise PlatformError(f"{self.title}: process {record.pid} does not end, even after SIGKILL")
        self._forget()

    def status(self) -> ServiceStatus:
        """Return the server's state, after trying to use it: a process may be alive and its parts dead."""
        record = self._process()
        if record is None:
            return ServiceStatus(self.name, self.title, external=False, running=False, address=self.address, data=str(self.folder))
        uptime_s = max(0.0, time.time() - record.since)
        return ServiceStatus(
            self.name, self.title, False, True, self.address, record.pid, record.memory_bytes, uptime_s, str(self.folder), self.problem()
        )

    def check_alive(self) -> None:
        """Raise PlatformError with the end of the log when the server has ended."""
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
        self._child, record = process.spawn(command, log=self.log, env=self.environment(), bound=self.bound, patience_s=self.stop_s)
        record.save(self._record_file)

    def _await_ready(self) -> bool:
        """Return whether the server works; false when a port collision is why not."""
        end = time.monotonic() + self.start_s
        reason = "nothing listens"
        while time.monotonic() < end:
            # Looked at before the log: what a process that has ended wrote is there in full.
            running = self.running
            if self._collided():
                return False
            if not running:
                raise self._failure("ended while it was starting")
            if not (reason := self.problem()):
                return True
            time.sleep(process.POLL_S)
        advice = "" if self.launched else ", though it was running already: `fedstream services down` stops it"
        raise self._failure(f"does not work after {self.start_s:.0f} s ({reason}){advice}")

    def _collided(self) -> bool:
        try:
            text = self.log.read_bytes().lower()
        except OSError:
            return False
        return self.launched and (b"address already in use" in text or b"failed to bind" in text)

    def problem(self) -> str:
        """Return why a client cannot use the server now; empty if it can."""
        try:
            self._connect()
            self.probe()
        except Exception as error:  # noqa: BLE001 - whatever a client meets while a server comes up, or a stranger on the port answers
            return str(error) or type(error).__name__
        return ""

    def _connect(self) -> None:
        try:
            socket.create_connection(("127.0.0.1", self.ports[self.port_names[0]]), timeout=1).close()
        except OSError as error:
            raise NotReadyError("nothing listens") from error

    def _forget(self) -> None:
        self._record_file.unlink(missing_ok=True)
        if self._child is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(process.KILL_S)
            self._child = None
        self.clean()

    def _failure(self, what: str) -> PlatformError:
        lines = process.tail(self.log)
        return PlatformError(f"{self.title} {what}; the end of {self.log}:\n{lines}" if lines else f"{self.title} {what}; {self.log} is empty")
