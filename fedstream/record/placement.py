"""Where clients train: the part of a run's spec that says how a client differs from the others."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, model_validator

from fedstream.record.document import Document
from fedstream.record.operational import OPERATIONAL


class Placement(Document):
    """Where a client's training runs, and which resources it can use there.

    Attributes:
        node_selector: Kubernetes node labels, all of which must match.
        tolerations: Kubernetes tolerations, as in a pod's YAML.
        gpu_type: resource name such as `nvidia.com/gpu`; empty for none.
        gpu_count: number of these resources; for shared memory, in the unit that its device plugin counts.
        gpu_memory_mib: upper limit, in MiB, of the memory that the training uses on each GPU, where pods share one; 0
            to allocate more as needed.
        cpu_fallback: if a GPU is requested but none is available, train on the processor instead of leaving the client
            out.
    """

    node_selector: dict[str, str] = {}
    tolerations: list[dict[str, Any]] = []
    gpu_type: str = ""
    gpu_count: int = Field(default=0, ge=0, le=1_000_000)
    gpu_memory_mib: int = Field(default=0, ge=0, le=1_000_000)
    cpu_fallback: bool = False

    @model_validator(mode="after")
    def _gpu_is_whole(self) -> Placement:
        if bool(self.gpu_type) != bool(self.gpu_count):
            raise ValueError(f"gpu_type is {self.gpu_type!r} and gpu_count is {self.gpu_count}; set both or neither")
        return self


class Site(Document):
    """How one client differs from the run's defaults.

    Attributes:
        bootstrap_servers: the client's own brokers; empty for the default brokers.
        placement: where the client's training runs; absent for the run's default.
        store_secret: Kubernetes secret with the key that the client's training pods use for the store; empty for the
            secret that all clients share.
    """

    bootstrap_servers: str = ""
    placement: Annotated[Placement | None, OPERATIONAL] = None
    store_secret: Annotated[str, OPERATIONAL] = Field(
        default="", max_length=253, pattern=r"^([a-z0-9]([a-z0-9.-]*[a-z0-9])?)?$"
    )


BESIDE_PLACEMENTS = ("cpu_fallback", "gpu_memory_mib")
"""Fields that used to belong to a RunSpec and now belong to a Placement."""


def with_placement(beside: dict[str, Any], holder: Any, default: Any = None) -> Any:
    """Add values to the placement of a site or of a run.

    A placement of the wrong type stays as it is, so that validation can name it.
    """
    placement = holder.get("placement", default) if isinstance(holder, dict) else None
    return holder | {"placement": beside | placement} if isinstance(placement, dict) else holder
