"""Processes that are started here and found again later, by pid and start time. Knows no Kafka and no S3."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from fedstream.errors import PlatformError

POLL_S = 0.05
KILL_S = 10.0
"""The kernel frees a killed process at once; longer means a process stuck in I/O."""
PORTS = range(15000, 32000)
"""Below the ephemeral range of Linux, so that no outgoing connection takes the port of a server that is being restarted."""


@dataclass(frozen=True)
class ProcessRecord:
    """A process that was started here.

    Attributes:
        pid: process id.
        mark: start time as the system tells it, to see whether the pid has been given to another process since.
        since: seconds since the epoch when it was started.
        owner: pid of the process that it ends with; 0 when it stays.
        owner_mark: the owner's start time.
    """

    pid: int
    mark: str
    since: float
    owner: int = 0
    owner_mark: str = ""

    @property
    def alive(self) -> bool:
        """Whether this very process is running; a zombie is not."""
        return start_mark(self.pid) == self.mark

    @property
    def abandoned(self) -> bool:
        """Whether it is about to end, since its owner has ended."""
        return bool(self.owner) and start_mark(self.owner) != self.owner_mark

    @property
    def memory_bytes(self) -> int:
        """Resident memory; 0 when the process is gone."""
        try:
            return int(psutil.Process(self.pid).memory_info().rss) if self.alive else 0
        except psutil.Error:
            return 0

    def save(self, path: Path) -> None:
        write_private(path, json.dumps(asdict(self)))

    @classmethod
    def load(cls, path: Path) -> ProcessRecord | None:
        """Read a record; None when there is none, or when it was cut short by a crash."""
        try:
            return cls(**json.loads(path.read_text()))
        except (OSError, ValueError, TypeError):
            return None


def start_mark(pid: int) -> str | None:
    """Return what tells this process from an earlier or later one with the same pid; None when no such process runs."""
    try:
        # On Linux the ticks since boot: unlike a date they do not move when the clock is set.
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return None if fields[0] in (b"Z", b"X") else f"{_boot_id()}:{int(fields[19])}"
    except (OSError, IndexError, ValueError):
        pass
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.2f}"
    except psutil.Error:
        return None


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def spawn(
    command: Sequence[str], *, log: Path, env: Mapping[str, str], bound: bool, patience_s: float
) -> tuple[subprocess.Popen[bytes], ProcessRecord]:
    """Start a server in its own session, away from the terminal's Ctrl-C.

    Args:
        command: absolute path of the program, then its arguments.
        log: file that stdout and stderr are appended to.
        env: the whole environment.
        bound: whether the server ends when this process ends, however that happens; otherwise it stays.
        patience_s: between asking it to end and killing it, if bound.

    Raises:
        PlatformError: the program cannot be started.
    """
    me = os.getpid()
    if bound:
        command = [sys.executable, "-I", "-S", str(Path(__file__).with_name("guard.py")), str(me), str(patience_s), *command]
    try:
        with log.open("ab") as file:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=dict(env), cwd=log.parent, start_new_session=True
            )
    except OSError as error:
        raise PlatformError(f"cannot start {command[0]}: {error.strerror or error}") from error
    owner, owner_mark = (me, start_mark(me) or "") if bound else (0, "")
    return process, ProcessRecord(process.pid, start_mark(process.pid) or "", time.time(), owner, owner_mark)


def stop(record: ProcessRecord, *, patience_s: float) -> None:
    """Ask a process to end, wait, then kill it. Nothing happens when it is gone already.

    Raises:
        PlatformError: it is still there after SIGKILL.
    """
    for number, wait_s in ((signal.SIGTERM, patience_s), (signal.SIGKILL, KILL_S)):
        if not record.alive:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(record.pid, number)
        if wait_until(lambda: not record.alive, wait_s):
            return
    raise PlatformError(f"process {record.pid} does not end, even after SIGKILL; look at it with `ps -fp {record.pid}`")


def wait_until(condition: Callable[[], bool], deadline_s: float) -> bool:
    """Poll a condition; False when the deadline passes first."""
    end = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() >= end:
            return False
        time.sleep(POLL_S)
    return True


def free_ports(count: int) -> list[int]:
    """Return different loopback ports on which nobody listens now; somebody may by the time they are used, so be ready to try again."""
    ports: list[int] = []
    for port in random.sample(PORTS, k=len(PORTS)):
        if len(ports) == count:
            return ports
        if port_is_free(port):
            ports.append(port)
    raise PlatformError(f"fewer than {count} free ports between {PORTS.start} and {PORTS.stop} on 127.0.0.1")


def port_is_free(port: int) -> bool:
    """Tell whether a server could listen on a loopback port now."""
    with socket.socket() as listener:
        # As servers do: a connection in TIME_WAIT is no obstacle.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
            listener.listen()
        except OSError:
            return False
    return True


def tail(path: Path, lines: int = 12) -> str:
    """Return the last lines of a log, indented; empty when there are none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 64_000))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(f"    {line}" for line in [line for line in text.splitlines() if line.strip()][-lines:])


def write_private(path: Path, text: str) -> None:
    """Replace a file at once, readable by its owner only."""
    scratch = path.with_name(f"{path.name}.{os.getpid()}.new")
    with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    scratch.replace(path)


@contextlib.contextmanager
def locked(path: Path, *, deadline_s: float, on_wait: Callable[[], None]) -> Iterator[None]:
    """Hold a lock file that other processes respect; the system frees it when the holder dies.

    Raises:
        PlatformError: another process holds it for longer than the deadline.
    """
    with path.open("a") as file:
        if not _try_lock(file.fileno()):
            on_wait()
            if not wait_until(lambda: _try_lock(file.fileno()), deadline_s):
                raise PlatformError(f"another process has held {path} for {deadline_s:.0f} s; wait for it, or end it")
        yield


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
