import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kafka import KafkaProducer
from typer.testing import CliRunner

from fedstream.errors import UsageError
from fedstream.settings import KafkaSettings
from fedstream.stream import announcement, cli, send
from fedstream.stream.announcement import parse_data_announcement
from fedstream.stream.codec import get_codec
from fedstream.stream.reader import read_announcements, read_ranges, topic_bounds

X, Y = np.arange(40 * 16, dtype=np.uint8).reshape(40, 16), np.arange(40, dtype=np.uint8) % 10


@pytest.fixture
def control(kafka: KafkaSettings, topic: str, platform_env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """Give the test a control topic of its own."""
    name = f"{topic}-control"
    monkeypatch.setattr(announcement, "DATA_CONTROL_TOPIC", name)
    monkeypatch.setattr(send, "DATA_CONTROL_TOPIC", name)
    return name


@pytest.fixture
def file(tmp_path: Path) -> str:
    np.savez(tmp_path / "data.npz", x=X, y=Y)
    return str(tmp_path / "data.npz")


def run(*words: str) -> Any:
    return CliRunner().invoke(cli.stream_app, words)


def test_a_file_is_sent_and_announced(kafka: KafkaSettings, topic: str, control: str, file: str) -> None:
    words = ["--topic", topic, "--client", "plant-7", "--partitions", "3", "--shape", "4 4", "--validation-rate", "0.2", "--test-rate", "0.1"]
    done = run("send", file, *words, "--restriction", '{"a": 1}', "--description", "words", "--json")
    assert done.exit_code == 0, done.output
    said = parse_data_announcement(read_announcements(kafka, control, 20)[0][2])
    assert json.loads(done.stdout)["topic"] == said.topic
    assert (said.client, said.total_msg, said.restrictions, said.description) == ("plant-7", 40, {"a": 1}, "words")
    assert said.held_out_rate() == pytest.approx(0.3)
    assert len(topic_bounds(kafka, topic)) == 3
    x, y = get_codec(said.input_format, said.input_config).decode_records(read_ranges(kafka, said.ranges, 20))
    order = np.argsort(x[:, 0, 0])
    np.testing.assert_array_equal(x[order].reshape(40, 16)[:16], X[np.argsort(X[:, 0])][:16])
    assert sorted(y) == sorted(Y)


def test_a_table_is_sent(topic: str, control: str, tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("a,b,kind\n1,2,0\n3,4,1\n")
    done = run("send", str(tmp_path / "d.csv"), "--topic", topic, "--client", "c", "--label", "kind")
    assert done.exit_code == 0, done.output
    assert f"sent 2 records and announced {topic}:0:0:2 for client c" in done.stdout


def test_the_list_says_what_is_wrong(kafka: KafkaSettings, topic: str, control: str, file: str) -> None:
    assert run("send", file, "--topic", topic, "--client", "fine").exit_code == 0
    with KafkaProducer(**kafka.client_args()) as producer:
        for value in (b"no json", b'{"topic": "t:0:0:5"}', b'{"topic": "t:0:0:5", "input_format": "RAW", "input_config": {}, "client": "o\'brien"}'):
            producer.send(control, key=b"\0", value=value).get(20)
    done = run("list", "--json")
    assert done.exit_code == 0, done.output
    problems = [row["problem"] for row in json.loads(done.stdout)]
    assert problems[0] == ""
    assert "not JSON" in problems[1]
    assert "input_format" in problems[2]
    assert "client name" in problems[3]
    assert "o'brien" in run("list").stdout


def test_the_list_is_empty_where_nothing_was_ever_announced(control: str) -> None:
    assert json.loads(run("list", "--json").stdout) == []


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--client", "hospital a"], "client name"),
        (["--client", 'quo"te'], "client name"),
        (["--client", "c", "--validation-rate", "1"], "validation_rate"),
        (["--client", "c", "--validation-rate", "nan"], "validation_rate"),
        (["--client", "c", "--test-rate", "-1"], "test_rate"),
        (["--client", "c", "--restriction", "{"], "restriction"),
        (["--client", "c", "--restriction", "[1]"], "restriction"),
        (["--client", "c", "--shape", "5 5"], "16 values"),
    ],
)
def test_wrong_words_are_a_usage_error_and_nothing_is_sent(
    kafka: KafkaSettings, topic: str, control: str, file: str, words: list[str], reason: str
) -> None:
    done = run("send", file, "--topic", topic, *words)
    assert isinstance(done.exception, UsageError), done.output
    assert reason in str(done.exception)
    assert read_announcements(kafka, control, 20) == []


def test_words_that_typer_refuses_exit_with_2(topic: str, control: str, file: str) -> None:
    assert run("send", file, "--topic", topic).exit_code == 2
    assert run("send", file, "--topic", topic, "--client", "c", "--partitions", "0").exit_code == 2
    assert run("send", file, "--topic", "a b", "--client", "c").exception.exit_code == 2
