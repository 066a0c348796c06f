"""Each example, run as a data owner would run it: in this process, because a process of its own takes seconds."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from support.announcing import heard_of

from fedstream.local.datasets import load_dataset
from fedstream.settings import KafkaSettings
from fedstream.stream.announcement import DataAnnouncement
from fedstream.stream.codec import get_codec
from fedstream.stream.reader import read_ranges, topic_bounds

EXAMPLES = Path(__file__).parents[3] / "examples"
DIGITS = load_dataset("digits")
RUN = {
    "mnist_raw_sink",
    "mnist_incremental_sink",
    "mnist_semi_supervised_sink",
    "mnist_semi_supervised_incremental_sink",
}
RUN |= {"ten_clients", "csv_sink", "two_wards"}
"""The examples that a test here runs."""
OTHERS = {"images", "model_digits", "model_early_exit", "model_tumours"}
"""What examples import, and models that other tests add."""


@pytest.fixture
def run(kafka: KafkaSettings, tmp_path: Path, platform_env: dict[str, str], monkeypatch: pytest.MonkeyPatch):
    """Return a function that runs an example in an empty folder."""
    monkeypatch.delenv("FEDSTREAM_CLIENT", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(EXAMPLES))

    def runs(name: str, *words: str) -> None:
        monkeypatch.delitem(sys.modules, "images", raising=False)
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *words])
        runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")

    return runs


def content(kafka: KafkaSettings, said: DataAnnouncement) -> tuple[np.ndarray, np.ndarray]:
    return get_codec(said.format).decode_records(read_ranges(kafka, said.ranges, 20))


def test_every_example_is_run_by_a_test() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == RUN | OTHERS


def test_mnist_of_a_file(run, kafka, topic, monkeypatch):
    x, y = np.arange(40 * 784, dtype=np.uint32).astype(np.uint8).reshape(40, 784), (np.arange(40) % 10).astype(np.uint8)
    np.savez("mnist.npz", x_train=x[:30], y_train=y[:30], x_test=x[30:], y_test=y[30:])
    monkeypatch.setenv("FEDSTREAM_CLIENT", f"owner-{topic}")
    run("mnist_raw_sink", "mnist.npz", topic)
    [said] = heard_of(kafka, f"owner-{topic}")
    assert (said.topic, said.held_out_rate(), said.input_config["data_reshape"]) == (f"{topic}:0:0:40", 0.1, "28 28")
    np.testing.assert_array_equal(content(kafka, said)[0].reshape(40, 784), x)


def test_the_digits_without_a_file(run, kafka, topic):
    run("mnist_raw_sink", "digits", topic)
    [said] = heard_of(kafka, topic)
    got_x, got_y = content(kafka, said)
    np.testing.assert_array_equal(got_x, np.concatenate([DIGITS.x_train, DIGITS.x_test]))
    np.testing.assert_array_equal(got_y, np.concatenate([DIGITS.y_train, DIGITS.y_test]))


def test_six_parts_of_a_stream_without_end(run, kafka, topic):
    run("mnist_incremental_sink", "digits", topic, "--pause", "0")
    [said] = heard_of(kafka, topic)
    assert (said.topic, said.incremental, said.total_msg) == (topic, True, None)
    assert topic_bounds(kafka, topic) == {0: (0, len(DIGITS.y_train))}


def test_records_of_which_a_sixth_has_labels(run, kafka, topic):
    run("mnist_semi_supervised_sink", "digits", topic)
    [said] = heard_of(kafka, topic)
    labelled, all_of_them = len(DIGITS.y_train) // 6, len(DIGITS.y_train)
    assert said.total_msg == labelled + len(DIGITS.y_test)
    assert said.unsupervised_topic == f"{topic}-unlabelled:0:0:{all_of_them - labelled}"


def test_records_without_labels_that_keep_coming(run, kafka, topic):
    run("mnist_semi_supervised_incremental_sink", "digits", topic, "--pause", "0")
    [said] = heard_of(kafka, topic)
    _, end = topic_bounds(kafka, f"{topic}-unlabelled")[0]
    assert (said.incremental, said.unsupervised_topic) == (True, f"{topic}-unlabelled")
    assert said.total_msg + end == len(DIGITS.y_train)


def test_ten_clients_of_two_shards_each(run, kafka, topic, capsys):
    run("ten_clients", "digits", topic)
    said = [one for number in range(10) for one in heard_of(kafka, f"{topic}-{number}")]
    assert [one.client for one in said] == [f"{topic}-{number}" for number in range(10)]
    assert sum(one.total_msg for one in said) == len(DIGITS.y_train)
    classes = [len(np.unique(content(kafka, one)[1])) for one in said]
    assert max(classes) <= 4
    assert capsys.readouterr().out.count(" announced ") == 10


def test_a_table_by_pandas(run, kafka, topic, capsys):
    run("two_wards")
    run("csv_sink", "ward7.csv", "outcome", topic)
    [said] = heard_of(kafka, topic)
    assert (said.input_format, said.total_msg, said.classes) == ("JSON", 300, [])
    x, y = content(kafka, said)
    assert (x.shape, set(y)) == ((300, 30), {0, 1})
    Path("pets.csv").write_text("kind,age,weight\ncat,3,4.5\ndog,5,\ndog,7,20\n")
    run("csv_sink", "pets.csv", "kind", f"{topic}-pets")
    [said] = heard_of(kafka, f"{topic}-pets")
    assert (said.input_config["fields"], said.classes) == (["age", "weight"], ["cat", "dog"])
    assert [part.tolist() for part in content(kafka, said)] == [[[3, 4.5], [7, 20]], [0, 1]]
    with pytest.raises(SystemExit, match="usage: "):
        run("csv_sink")
