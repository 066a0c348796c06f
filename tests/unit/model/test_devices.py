from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from fedstream.errors import ModelError
from fedstream.model import _tensorflow, devices, usage
from fedstream.model.devices import device_name, gpu_names, what_is_there
from fedstream.model.usage import MIB, measured


class FakeConfig:
    """`tf.config` of a machine with two GPUs."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.experimental = self.threading = self
        self.gpus = [SimpleNamespace(name=f"/physical_device:GPU:{number}", device_type="GPU") for number in range(2)]

    def list_physical_devices(self, kind: str) -> list[Any]:
        return self.gpus if kind == "GPU" else []

    def get_device_details(self, gpu: Any) -> dict[str, str]:
        return {"device_name": "NVIDIA H100"}

    def get_memory_info(self, gpu: str) -> dict[str, int]:
        return {"peak": {"GPU:0": 300, "GPU:1": 200}[gpu] * MIB}

    def reset_memory_stats(self, gpu: str) -> None:
        self.heard.append(("reset", gpu))

    def set_memory_growth(self, gpu: Any, on: bool) -> None:
        self.heard.append((gpu.name[-1], "grows", on))

    def LogicalDeviceConfiguration(self, memory_limit: int) -> int:
        return memory_limit

    def set_logical_device_configuration(self, gpu: Any, devices: list[int]) -> None:
        self.heard.append((gpu.name[-1], "limit", devices))

    def set_intra_op_parallelism_threads(self, threads: int) -> None:
        self.heard.append(threads)

    set_inter_op_parallelism_threads = set_intra_op_parallelism_threads


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> FakeConfig:
    config = FakeConfig()
    for module in (devices, usage):
        monkeypatch.setattr(module, "tensorflow", lambda: SimpleNamespace(config=config, __version__="2"))
    return config


def test_fake_gpus_are_counted_and_named(gpus: FakeConfig) -> None:
    assert gpu_names() == ["GPU:0", "GPU:1"]
    assert device_name(["GPU:0"]) == "GPU NVIDIA H100"
    assert device_name(gpu_names()) == "2 x GPU NVIDIA H100"
    assert device_name([]).startswith("CPU")
    assert device_name(["CPU:0", "CPU:1"]) == f"2 x {device_name([])}"


def test_memory_of_fake_gpus_grows_or_is_limited(gpus: FakeConfig) -> None:
    _tensorflow._apply(SimpleNamespace(config=gpus), 2, 0)
    assert gpus.heard == [("0", "grows", True), ("1", "grows", True), 2, 2]
    gpus.heard.clear()
    _tensorflow._apply(SimpleNamespace(config=gpus), 2, 4096)
    assert gpus.heard == [("0", "limit", [4096]), ("1", "limit", [4096]), 2, 2]


def test_another_memory_limit_in_one_process_is_refused_where_there_is_a_fake_gpu(
    gpus: FakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    _tensorflow.set_threads(None)
    _tensorflow.set_threads(None, 4096)  # nothing to limit on a processor
    monkeypatch.setitem(_tensorflow.sys.modules, "tensorflow", SimpleNamespace(config=gpus))
    _tensorflow.set_threads(None, 0)
    with pytest.raises(
        ModelError, match="already runs with gpu_memory_mib 0 in this process, not 4096; use a new process"
    ):
        _tensorflow.set_threads(None, 4096)


def test_what_tensorflow_sees_is_said() -> None:
    assert what_is_there().startswith("TensorFlow 2")
    assert "sees only CPU" in what_is_there()


def test_a_training_on_a_processor_is_measured() -> None:
    with measured(2) as used:
        sum(range(300_000))
    figures = used.figures(100)
    assert set(figures) == {"device_seconds", "examples_per_second", "peak_memory_mib", "cpu_percent"}
    assert figures["examples_per_second"] == pytest.approx(100 / used.seconds, rel=0.01)
    assert 0 < figures["cpu_percent"] < 150
    assert figures["peak_memory_mib"] > 50


class FakeNvml:
    """What the `pynvml` module offers of it."""

    NVML_GPU_UTILIZATION_SAMPLES = 1

    class NVMLError(Exception): ...

    def __init__(self, percents: dict[int, list[int]], count: int = 2) -> None:
        self.percents, self.count = percents, count

    def nvmlInit(self) -> None: ...

    def nvmlShutdown(self) -> None: ...

    def nvmlDeviceGetCount(self) -> int:
        return self.count

    def nvmlDeviceGetHandleByIndex(self, number: int) -> int:
        return number

    def nvmlDeviceGetSamples(self, handle: int, kind: int, since: int) -> tuple[int, list[Any]]:
        assert since > 1e15, "microseconds"
        if handle not in self.percents:
            raise self.NVMLError("Not Supported")
        return 1, [SimpleNamespace(sampleValue=SimpleNamespace(uiVal=percent)) for percent in self.percents[handle]]


@pytest.mark.parametrize(("percents", "said"), [({0: [50, 70], 1: [30]}, 50.0), ({}, None)])
def test_fake_gpus_are_measured_too(
    gpus: FakeConfig, monkeypatch: pytest.MonkeyPatch, percents: dict[int, list[int]], said: float | None
) -> None:
    monkeypatch.setitem(_tensorflow.sys.modules, "pynvml", FakeNvml(percents))
    with measured(2) as used:
        pass
    figures = used.figures(0)
    assert gpus.heard == [("reset", "GPU:0"), ("reset", "GPU:1")]
    assert figures["device_seconds"] == pytest.approx(2 * used.seconds, abs=0.001)
    assert figures["peak_gpu_memory_mib"] == 300
    assert figures.get("gpu_percent") == said


def test_utilisation_of_fake_gpus_that_others_may_use_is_left_out(
    gpus: FakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(_tensorflow.sys.modules, "pynvml", FakeNvml({0: [90], 1: [90], 2: [90]}, count=3))
    with measured(2) as used:
        pass
    assert "gpu_percent" not in used.figures(1)


def test_without_nvidia_s_library_utilisation_is_left_out(gpus: FakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(_tensorflow.sys.modules, "pynvml", None)
    with measured(2) as used:
        pass
    assert "gpu_percent" not in used.figures(1)
