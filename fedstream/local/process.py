"""Start processes and find them again later by PID and start time. Knows nothing of Kafka and S3."""

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
"""Seconds to wait after SIGKILL, which ends a process at once unless it is stuck in I/O."""
PORTS = range(15000, 32000)
"""Below the ephemeral port range of Linux, so that no outgoing connection takes the port of a restarting server."""


@dataclass(frozen=True)
class ProcessRecord:
    """A process that was started here.

    Attributes:
        pid: Process ID.
        mark: Start time according to the system, which shows whether the PID has been reused.
        since: Time of the start, in seconds since the epoch.
        owner: PID of the process that it ends with; 0 if it is independent.
        owner_mark: Start time of the owner.
    """

    pid: int
    mark: str
    since: float
    owner: int = 0
    owner_mark: str = ""

    @property
    def alive(self) -> bool:
        """Whether exactly this process is running; a zombie is not."""
        return start_mark(self.pid) == self.mark

    @property
    def abandoned(self) -> bool:
        """Whether it is about to end because its owner has ended."""
        return bool(self.owner) and start_mark(self.owner) != self.owner_mark

    @property
    def memory_bytes(self) -> int:
        """Resident memory in bytes; 0 if the process has ended."""
        try:
            return int(psutil.Process(self.pid).memory_info().rss) if self.alive else 0
        except psutil.Error:
            return 0

    def save(self, path: Path) -> None:
        write_private(path, json.dumps(asdict(self)))

    @classmethod
    def load(cls, path: Path) -> ProcessRecord | None:
        """Read a record; return None if there is none or it is incomplete after a crash."""
        try:
            return cls(**json.loads(path.read_text()))
        except (OSError, ValueError, TypeError):
            return None


def start_mark(pid: int) -> str | None:
    """Return what distinguishes this process from others with the same PID; None if no such process is running."""
    try:
        # On Linux, the ticks since boot, which do not change when the clock is set.
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
        command: Absolute path of the program, followed by its arguments.
        log: File to which stdout and stderr are appended.
        env: Complete environment of the server.
        bound: Whether the server ends when this process ends, for whatever reason.
        patience_s: Seconds between SIGTERM and SIGKILL, if bound.

    Raises:
        PlatformError: The program cannot be started.
    """
    me = os.getpid()
    if bound:
        command = [
            sys.executable,
            "-I",
            "-S",
            str(Path(__file__).with_name("guard.py")),
            str(me),
            str(patience_s),
            *command,
        ]
    try:
        with log.open("ab") as file:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env=dict(env),
                cwd=log.parent,
                start_new_session=True,
            )
    except OSError as error:
        raise PlatformError(f"cannot start {command[0]}: {error.strerror or error}") from error
    owner, owner_mark = (me, start_mark(me) or "") if bound else (0, "")
    return process, ProcessRecord(process.pid, start_mark(process.pid) or "", time.time(), owner, owner_mark)


def stop(record: ProcessRecord, *, patience_s: float) -> None:
    """Terminate a process, wait `patience_s`, then kill it. Do nothing if it has already ended.

    Raises:
        PlatformError: The process still exists after SIGKILL.
    """
    for number, wait_s in ((signal.SIGTERM, patience_s), (signal.SIGKILL, KILL_S)):
        if not record.alive:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(record.pid, number)
        if wait_until(lambda: not record.alive, wait_s):
            return
    raise PlatformError(f"process {record.pid} does not end, even after SIGKILL; inspect it with `ps -fp {record.pid}`")


def wait_until(condition: Callable[[], bool], deadline_s: float) -> bool:
    """Wait until a condition holds; return False if the deadline passes first."""
    end = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() >= end:
            return False
        time.sleep(POLL_S)
    return True


def free_ports(count: int) -> list[int]:
    """Return distinct free loopback ports.

    Another program can take a port before it is used, so the caller must be ready to try again.
    """
    ports: list[int] = []
    for port in random.sample(PORTS, k=len(PORTS)):
        if len(ports) == count:
            return ports
        if port_is_free(port):
            ports.append(port)
    raise PlatformError(
        f"there are fewer than {count} free ports between {PORTS.start} and {PORTS.stop} on 127.0.0.1; "
        "stop programs that use them"
    )


def port_is_free(port: int) -> bool:
    """Return whether a server could listen on a loopback port now."""
    with socket.socket() as listener:
        # Like servers, ignore connections in TIME_WAIT.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
            listener.listen()
        except OSError:
            return False
    return True


def tail(path: Path, lines: int = 12) -> str:
    """Return the last lines of a log, indented; empty if there are none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 64_000))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(f"    {line}" for line in [line for line in text.splitlines() if line.strip()][-lines:])


def write_private(path: Path, text: str) -> None:
    """Replace a file atomically; only its owner can read it."""
    scratch = path.with_name(f"{path.name}.{os.getpid()}.new")
    with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    scratch.replace(path)


@contextlib.contextmanager
def locked(path: Path, *, deadline_s: float, on_wait: Callable[[], None]) -> Iterator[None]:
    """Hold a lock file against other processes; the system releases it when the holder ends.

    Raises:
        PlatformError: Another process holds the lock for longer than the deadline.
    """
    with path.open("a") as file:
        if not _try_lock(file.fileno()):
            on_wait()
            if not wait_until(lambda: _try_lock(file.fileno()), deadline_s):
                raise PlatformError(
                    f"another process has held the lock {path} for {deadline_s:.0f} s; wait until it ends, or stop it"
                )
        yield


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
