"""What a training uses of its machine: time, processors, memory, GPUs."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fedstream.model._tensorflow import tensorflow
from fedstream.model.devices import gpu_names

MIB = 2**20


class Usage:
    """Figures of a piece of work; complete when `measured` ends."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.seconds = 0.0
        self.cpu_seconds = 0.0
        self.gpu_memory: list[float] = []
        self.gpu_utilisation: list[float] = []

    def figures(self, examples: int) -> dict[str, float]:
        """Return the figures by name: seconds, a rate, MiB, and percent.

        Args:
            examples: Number of processed examples.
        """
        seconds = max(self.seconds, 1e-9)
        said = {
            "device_seconds": seconds * max(1, len(self.gpu_memory)),
            "examples_per_second": examples / seconds,
            "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "cpu_percent": 100 * self.cpu_seconds / (seconds * self.threads),
        }
        if self.gpu_memory:
            said["peak_gpu_memory_mib"] = max(self.gpu_memory)
        if self.gpu_utilisation:
            said["gpu_percent"] = sum(self.gpu_utilisation) / len(self.gpu_utilisation)
        return {name: round(value, 3) for name, value in said.items()}


@contextmanager
def measured(threads: int) -> Iterator[Usage]:
    """Measure the resources that the body uses.

    The memory of the process is its peak since the start; the memory of a GPU is TensorFlow's peak in the body.

    Args:
        threads: Number of threads that the body can use; 100 % of the processor means that all of them are busy.
    """
    memory, usage = tensorflow().config.experimental, Usage(threads)
    gpus = gpu_names()
    for gpu in gpus:
        memory.reset_memory_stats(gpu)
    since, start, cpu = time.time(), time.monotonic(), time.process_time()
    yield usage
    usage.seconds, usage.cpu_seconds = time.monotonic() - start, time.process_time() - cpu
    usage.gpu_memory = [memory.get_memory_info(gpu)["peak"] / MIB for gpu in gpus]
    usage.gpu_utilisation = _gpu_percents(since, len(gpus)) if gpus else []


def _gpu_percents(since: float, gpus: int) -> list[float]:
    """Return the driver's samples of each GPU's utilisation, if there are any.

    There are none without NVIDIA's library, or on a MIG slice, which has no such figure. There are also none if the
    driver shows more GPUs than TensorFlow uses, as with CUDA_VISIBLE_DEVICES, because it does not show which are used.
    """
    try:
        import pynvml
    except ImportError:
        return []
    percents: list[float] = []
    try:
        pynvml.nvmlInit()
        for number in range(gpus if pynvml.nvmlDeviceGetCount() == gpus else 0):
            handle: Any = pynvml.nvmlDeviceGetHandleByIndex(number)
            _, samples = pynvml.nvmlDeviceGetSamples(handle, pynvml.NVML_GPU_UTILIZATION_SAMPLES, int(since * 1e6))
            percents += [float(sample.sampleValue.uiVal) for sample in samples]
        pynvml.nvmlShutdown()
    except pynvml.NVMLError:
        pass
    return percents
