"""What TensorFlow computes on in this process."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from fedstream.model._tensorflow import tensorflow


def gpu_names() -> list[str]:
    """Return TensorFlow's names of the GPUs it can use, such as `GPU:0`: in a pod, those it was given."""
    return [gpu.name.removeprefix("/physical_device:") for gpu in tensorflow().config.list_physical_devices("GPU")]


def device_name(devices: Sequence[str] = ()) -> str:
    """Return the name of the devices that a training runs on: digests agree on the same kind and number only.

    Args:
        devices: TensorFlow's names; none for the processor.
    """
    config = tensorflow().config
    if not devices or devices[0].startswith("CPU"):
        name = f"CPU {_cpu_model()}"
    else:
        details = [config.experimental.get_device_details(gpu) for gpu in config.list_physical_devices("GPU")[:1]]
        name = f"GPU {details[0].get('device_name', '')}" if details else "GPU"
    return f"{len(devices)} x {name.strip()}" if len(devices) > 1 else name.strip()


def what_is_there() -> str:
    """Return what TensorFlow sees, for a message."""
    tf = tensorflow()
    kinds = sorted({device.device_type for device in tf.config.list_physical_devices()})
    return f"TensorFlow {tf.__version__} sees only {', '.join(kinds) or 'nothing'}"


@cache
def _cpu_model() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    except OSError:
        return ""
