"""One client's training dealt out to two devices:
here two logical processors in processes of their own, elsewhere GPUs.
"""

from __future__ import annotations

import json
import subprocess
import sys

CHILD = """
import json
from fedstream.model._tensorflow import configure, keras, tensorflow
tf = tensorflow()
processor = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * 2)
import numpy as np
from fedstream.deadline import Deadline
from fedstream.model.files import load_keras, save_keras
from fedstream.model.keras_model import get_weights, set_weights
from fedstream.model.examples import Examples
from fedstream.model.learner import TrainingConfig
from fedstream.model.progress import Progress
from fedstream.model.training import train_client
from fedstream.record.local_rule import Proximal
from fedstream.record.weights import digest

configure(2, 0)
layers = keras().layers
generator = np.random.default_rng(0)
x, y = generator.integers(0, 17, (45, 8, 8)).astype(np.uint8), generator.integers(0, 4, 45).astype(np.uint8)
held_out = np.arange(45) % 10 == 0
said = {}

def train(devices, **config):
    set_weights(model, weights)
    config = TrainingConfig(**({"epochs": 2, "batch_size": 13, "seed": 5} | config))
    return train_client(model, Examples(x, y, held_out), config, devices)

for case, loss, layer in [
    ("classes", "sparse_categorical_crossentropy", layers.Flatten()),
    ("sequence", "mse", layers.Dense(8, "relu")),
]:
    last = layers.Dense(4, "softmax", kernel_regularizer="l2") if case == "classes" else layers.Dense(1)
    model = keras().Sequential([keras().Input((8, 8)), layers.Rescaling(1 / 16), layer, last])
    model.compile(keras().optimizers.Adam(0.01), loss, metrics=["accuracy"] if case == "classes" else ["mae"])
    model = load_keras(save_keras(model))
    if case == "sequence":
        y = generator.normal(0, 1, (45, 8, 1)).astype(np.float32)
    weights = get_weights(model)
    one, two = train([]), train(["CPU:0", "CPU:1"])
    again = train(["CPU:0", "CPU:1"]) if case == "classes" else two
    said[case] = {
        "devices": [one.device, two.device],
        "difference": max(float(abs(one.weights[name] - two.weights[name]).max()) for name in weights),
        "changed": max(float(abs(one.weights[name] - weights[name]).max()) for name in weights),
        "repeated": digest(two.weights) == digest(again.weights)
        and (two.training, two.trained) == (again.training, again.trained),
        "measured": [
            metrics.values
            for metrics in (one.incoming, two.incoming, one.trained, two.trained, one.training, two.training)
        ],
        "counted": [one.num_examples, two.num_examples],
    }
small = [train(devices, batch_size=1, epochs=1) for devices in ([], ["CPU:0", "CPU:1"])]
said["one record a step"] = max(float(abs(small[0].weights[name] - small[1].weights[name]).max()) for name in weights)
half = train(["CPU:0", "CPU:1"], mixed_precision=True)
said["half"] = max(float(abs(two.weights[name] - half.weights[name]).max()) for name in weights)
near = [train(devices, rule=Proximal(50.0), epochs=4) for devices in ([], ["CPU:0", "CPU:1"])]
plain = train([], epochs=4)
said["proximal"] = {
    "difference": max(float(abs(near[0].weights[name] - near[1].weights[name]).max()) for name in weights),
    "effect": max(float(abs(near[0].weights[name] - plain.weights[name]).max()) for name in weights),
}
real = Progress.check

def check(self, batch):
    if self.epochs == 2:
        self._deadline = 0.0
    real(self, batch)

Progress.check = check
ends = [train(["CPU:0", "CPU:1"], rule=Proximal(1.0), epochs=epochs, deadline=2.0**62) for epochs in (5, 2)]
Progress.check = real
said["partial"] = {"epochs": [end.epochs for end in ends], "digests": [digest(end.weights) for end in ends]}
x = x.astype(np.float32)
x[1] = np.nan
try:
    train(["CPU:0", "CPU:1"])
except Exception as error:
    said["diverged"] = str(error)
x, deadline = x * 0, Deadline(0.0)
try:
    train(["CPU:0", "CPU:1"], deadline=deadline)
except Exception as error:
    said["late"] = str(error)
print(json.dumps(said))
"""


def test_two_devices_give_the_weights_of_one_at_the_same_batches() -> None:
    """Records are counted once each, though 40 make no whole number of batches of 13, nor 13 two equal parts."""
    done = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    for case in ("classes", "sequence"):
        seen = said[case]
        assert seen["devices"][0].startswith("CPU")
        assert seen["devices"][1] == f"2 x {seen['devices'][0]}"
        assert seen["difference"] < 1e-5 < 1e-3 < seen["changed"]
        assert seen["repeated"]
        assert seen["counted"] == [40, 40]
        incoming, same, trained, nearly, training, summed = seen["measured"]
        assert incoming == same
        assert all(abs(trained[name] - nearly[name]) < 1e-4 for name in trained)
        assert all(abs(training[name] - summed[name]) < 0.05 * max(1, training[name]) for name in training)
    assert said["one record a step"] < 1e-5
    assert 0 < said["half"] < 0.05
    assert said["proximal"]["difference"] < 1e-5 < 1e-3 < said["proximal"]["effect"]
    assert said["partial"]["epochs"] == [2, None]
    assert said["partial"]["digests"][0] == said["partial"]["digests"][1]
    assert "training diverged" in said["diverged"]
    assert "training passed the round's deadline at step 1" in said["late"]
