"""Scripts as Kafka-ML's data owners have them, with its imports, its calls and its order.

Only the brokers, the data and the pauses are those of a test.
"""

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

from fedstream.settings import KafkaSettings
from fedstream.stream.announcement import DataAnnouncement, parse_data_announcement
from fedstream.stream.control import read_announcements
from fedstream.stream.reader import topic_bounds

PACKAGE = Path(__file__).parents[3] / "compat" / "kafka-ml"
HEAD = """
import sys
sys.path.append(sys.path[0] + "/../..")
from datasources.{module} import {sink}
import json
import logging
from time import sleep
import numpy as np

logging.basicConfig(level=logging.INFO)
with open("mnist_sample_input_format.json") as json_file:
    data_res = json.load(json_file)
with np.load("mnist.npz") as data:
    x_train, y_train, x_test, y_test = (data[n] for n in ("x_train", "y_train", "x_test", "y_test"))
mnist = {sink}(boostrap_servers="{servers}", topic="{topic}", deployment_id=1, description="Mnist dataset",
               dataset_restrictions=json.dumps(data_res), validation_rate=0.1, {more}
               control_topic="{topic}-control")
"""

CLASSIC = """
for (x, y) in zip(x_train, y_train):
    mnist.send(data=x, label=y)
for (x, y) in zip(x_test, y_test):
    mnist.send(data=x, label=y)
mnist.close()
"""
INCREMENTAL = """
mnist.send_online_control_msg(data=x_train[0], label=y_train[0])
for first in range(0, 60, 10):
    for (x, y) in zip(x_train[first:first + 10], y_train[first:first + 10]):
        mnist.send(data=x, label=y)
    sleep(0)
mnist.online_close()
"""
UNSUPERVISED = """
for (x, y) in zip(x_train[:10], y_train[:10]):
    mnist.send(data=x, label=y)
for x in x_train[10:]:
    mnist.unsupervised_send(data=x)
for (x, y) in zip(x_test, y_test):
    mnist.send(data=x, label=y)
mnist.close()
"""
UNSUPERVISED_INCREMENTAL = """
for (x, y) in zip(x_train[:10], y_train[:10]):
    mnist.send(data=x, label=y)
mnist.send_online_control_msg(data=x_train[0], label=y_train[0])
for first in range(10, 60, 10):
    for x in x_train[first:first + 10]:
        mnist.unsupervised_send(data=x)
    sleep(0)
mnist.online_close()
"""


@pytest.fixture
def run(kafka: KafkaSettings, topic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a function that runs a script and returns what it announced."""
    monkeypatch.delenv("FEDSTREAM_CLIENT", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(PACKAGE))
    for name in [name for name in sys.modules if name.partition(".")[0] == "datasources"]:
        monkeypatch.delitem(sys.modules, name)
    x, y = np.arange(70 * 16, dtype=np.uint8).reshape(70, 4, 4), (np.arange(70) % 10).astype(np.uint8)
    np.savez("mnist.npz", x_train=x[:60], y_train=y[:60], x_test=x[60:], y_test=y[60:])
    Path("mnist_sample_input_format.json").write_text('{"features": {"label": {"type": "int"}}}')

    def runs(module: str, body: str, more: str = "") -> DataAnnouncement:
        sink = "OnlineFederatedRawSink" if "online" in module else "FederatedRawSink"
        head = HEAD.format(module=module, sink=sink, servers=kafka.bootstrap_servers, topic=topic, more=more)
        Path("script.py").write_text(head + body)
        monkeypatch.setattr(sys, "path", list(sys.path))
        runpy.run_path("script.py", run_name="__main__")
        [message] = read_announcements(kafka, f"{topic}-control", 20)
        said = parse_data_announcement(message[2])
        assert (said.client, said.description, said.validation_rate) == (topic, "Mnist dataset", 0.1)
        assert said.restrictions == {"features": {"label": {"type": "int"}}}
        config = {"data_type": "uint8", "label_type": "uint8", "data_reshape": "4 4", "label_reshape": "1"}
        assert (said.input_format, said.input_config) == ("RAW", config)
        assert json.loads(message[2])["deployment_id"] == 1
        return said

    return runs


def test_the_script_of_a_stream(run, topic):
    said = run("federated_raw_sink", CLASSIC, "test_rate=0,")
    assert (said.topic, said.unsupervised_topic, said.total_msg, said.incremental) == (
        f"{topic}:0:0:70",
        None,
        70,
        False,
    )


def test_the_script_of_an_incremental_stream(run, topic, kafka):
    said = run("federated_online_raw_sink", INCREMENTAL)
    assert (said.topic, said.unsupervised_topic, said.total_msg, said.incremental) == (topic, None, None, True)
    assert topic_bounds(kafka, topic) == {0: (0, 60)}


def test_the_script_of_a_stream_with_unlabelled_records(run, topic):
    said = run("federated_raw_sink", UNSUPERVISED, f"test_rate=0, unsupervised_topic='{topic}-u',")
    assert (said.topic, said.unsupervised_topic, said.total_msg) == (f"{topic}:0:0:20", f"{topic}-u:0:0:50", 20)


def test_the_script_of_an_incremental_stream_with_unlabelled_records(run, topic, kafka):
    said = run("federated_online_raw_sink", UNSUPERVISED_INCREMENTAL, f"unsupervised_topic='{topic}-u',")
    assert (said.topic, said.unsupervised_topic) == (f"{topic}:0:0:10", f"{topic}-u")
    assert (said.total_msg, said.incremental) == (10, True)
    assert topic_bounds(kafka, f"{topic}-u") == {0: (0, 50)}
