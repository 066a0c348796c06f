from __future__ import annotations

import json
import os
import subprocess
import sys

CHILD = """
import json, os, sys
os.sched_setaffinity(0, set(list(os.sched_getaffinity(0))[:int(sys.argv[1])]))
import numpy as np
from fedstream.model._tensorflow import configure
from fedstream.model.builtin import KERAS, PREFIX, build_builtin
from fedstream.model.files import load_keras, save_keras
from fedstream.model.keras_model import get_weights
from fedstream.model.split import split_mask
from fedstream.model.examples import Examples
from fedstream.model.learner import TrainingConfig
from fedstream.model.training import train_client
from fedstream.record.canonical import sha256_hex
from fedstream.record.weights import digest

config = TrainingConfig(epochs=1, batch_size=10, seed=11, threads=2)
configure(config.threads, config.seed)
order = [PREFIX + name for name in sorted(KERAS)][:: 1 if sys.argv[1] == "1" else -1]
said = {}
for name in order:
    data = save_keras(build_builtin(name))
    model = load_keras(data)
    generator = np.random.default_rng(0)
    x = generator.integers(0, 17, (150, *model.inputs[0].shape[1:])).astype(np.uint8)
    y = generator.integers(0, 10, 150)
    initial = digest(get_weights(model))
    result = train_client(model, Examples(x, y, split_mask(1, np.zeros(150, int), np.arange(150), 0.2)), config)
    after = sha256_hex(save_keras(model))
    said[name] = [sha256_hex(data), initial, digest(result.weights), result.trained.values, after]
print(json.dumps(said))
"""


def test_two_processes_on_one_core_and_on_two_agree_bit_for_bit() -> None:
    """Of every built-in model: the file, its initial weights, the update, the metrics, and the file after training."""
    cores = sorted({1, min(2, len(os.sched_getaffinity(0)))})
    started = [
        subprocess.Popen([sys.executable, "-c", CHILD, str(n)], stdout=subprocess.PIPE, text=True)
        for n in (cores[0], cores[-1])
    ]
    first, second = (json.loads(process.communicate(timeout=120)[0]) for process in started)
    assert first == second
