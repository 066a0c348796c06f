"""What `fedstream services status` shows of a server."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ServiceStatus:
    """The state of one server in `fedstream services status`.

    Attributes:
        name: `kafka` or `store`.
        title: Name of the product.
        external: Whether it is an external server, configured by the environment.
        running: Whether its process is alive; True for an external server, which is not checked.
        problem: Why it does not work although its process is alive; empty if it works.
        address: Address for clients; empty before the first start.
        pid: Process ID; 0 if there is none.
        memory_bytes: Resident memory in bytes.
        uptime_s: Seconds since the start.
        data: Folder of its data and log; empty for an external server.
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
