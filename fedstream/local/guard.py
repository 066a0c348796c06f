"""Run a server that ends with the process that started it: `python -I -S guard.py PARENT_PID PATIENCE_S COMMAND...`.

This module uses the standard library only. The process forks: the original becomes the server, so that the parent knows
its PID, and the copy watches the parent. prctl(PR_SET_PDEATHSIG) is not used, because it fires when the spawning
*thread* ends.
"""

from __future__ import annotations

import os
import signal
import sys
import time

POLL_S = 0.2
"""Seconds between checks of the parent: short enough that a restart finds the ports free, long enough to be cheap."""


def parent_of(pid: int) -> int | None:
    """Return the parent's PID of a process; None if /proc does not provide it."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return None


def orphaned(server: int, parent: int) -> bool:
    """Return whether the parent has ended, even if it is a zombie that has not been reaped yet."""
    actual = parent_of(server)
    if actual is not None:
        return actual != parent
    try:
        os.kill(parent, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False


def watch(server: int, parent: int, patience_s: float) -> None:
    """Wait until the server ends; if its parent ends first, terminate the server, and kill it after `patience_s`."""
    while os.getppid() == server:
        if orphaned(server, parent):
            os.kill(server, signal.SIGTERM)
            deadline = time.monotonic() + patience_s
            while os.getppid() == server and time.monotonic() < deadline:
                time.sleep(POLL_S)
            if os.getppid() == server:
                os.kill(server, signal.SIGKILL)
            return
        time.sleep(POLL_S)


def main() -> None:
    """Fork the watcher, then become the server."""
    parent, patience_s, command = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]
    server = os.getpid()
    if os.fork() == 0:
        try:
            watch(server, parent, patience_s)
        finally:
            os._exit(0)
    if os.getppid() != parent:
        sys.exit(1)
    os.execv(command[0], command)  # noqa: S606 - no shell and the same PID are the purpose


if __name__ == "__main__":
    main()
