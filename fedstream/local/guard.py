"""Run a server that must not outlive the process that asked for it: `python -I -S guard.py PARENT_PID PATIENCE_S COMMAND...`.

Standard library only. The process forks: the original becomes the server (so its pid is the one the parent knows), the copy watches the parent.
A watcher is used, not prctl(PR_SET_PDEATHSIG), because that fires when the spawning *thread* ends.
"""

from __future__ import annotations

import os
import signal
import sys
import time

POLL_S = 0.2
"""How often the parent is looked at: short enough that a restart finds the ports free, long enough to cost nothing."""


def parent_of(pid: int) -> int | None:
    """Return the parent of a process; None where /proc does not tell."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return None


def orphaned(server: int, parent: int) -> bool:
    """Tell whether the parent is gone, even when it is a zombie that nobody has collected yet."""
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
    """Wait until the server has ended; when its parent ends first, ask it to end, and kill it when the patience is over."""
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
    os.execv(command[0], command)  # noqa: S606 - the whole point: no shell, and the same pid


if __name__ == "__main__":
    main()
