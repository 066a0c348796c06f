import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kafka import KafkaProducer
from typer.testing import CliRunner

from fedstream.cli import stream as cli
from fedstream.errors import BrokerError, UsageError
from fedstream.settings import KafkaSettings
from fedstream.stream import announced, announcement, send
from fedstream.stream.announcement import parse_data_announcement
from fedstream.stream.codec import get_codec
from fedstream.stream.control import read_announcements
from fedstream.stream.reader import read_ranges, topic_bounds

X, Y = np.arange(40 * 16, dtype=np.uint8).reshape(40, 16), np.arange(40, dtype=np.uint8) % 10


@pytest.fixture
def control(kafka: KafkaSettings, topic: str, platform_env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """Give the test a control topic of its own."""
    name = f"{topic}-control"
    monkeypatch.setattr(announcement, "DATA_CONTROL_TOPIC", name)
    monkeypatch.setattr(send, "DATA_CONTROL_TOPIC", name)
    monkeypatch.setattr(announced, "DATA_CONTROL_TOPIC", name)
    return name


@pytest.fixture
def file(tmp_path: Path) -> str:
    np.savez(tmp_path / "data.npz", x=X, y=Y)
    return str(tmp_path / "data.npz")


def run(*words: str) -> Any:
    return CliRunner().invoke(cli.stream_app, words)


def test_a_file_is_sent_and_announced(kafka: KafkaSettings, topic: str, control: str, file: str) -> None:
    words = [
        "--topic",
        topic,
        "--client",
        "plant-7",
        "--partitions",
        "3",
        "--shape",
        "4 4",
        "--validation-rate",
        "0.2",
        "--test-rate",
        "0.1",
    ]
    done = run("send", file, *words, "--restriction", '{"a": 1}', "--description", "words", "--json")
    assert done.exit_code == 0, done.output
    said = parse_data_announcement(read_announcements(kafka, control, 20)[0][2])
    assert json.loads(done.stdout)["topic"] == said.topic
    assert (said.client, said.total_msg, said.restrictions, said.description) == ("plant-7", 40, {"a": 1}, "words")
    assert said.held_out_rate() == pytest.approx(0.3)
    assert len(topic_bounds(kafka, topic)) == 3
    x, y = get_codec(said.format).decode_records(read_ranges(kafka, said.ranges, 20))
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
        for value in (
            b"no json",
            b'{"topic": "t:0:0:5"}',
            b'{"topic": "t:0:0:5", "input_format": "RAW", "input_config": {}, "client": "o\'brien"}',
        ):
            producer.send(control, key=b"\0", value=value).get(20)
    done = run("list", "--json")
    assert done.exit_code == 0, done.output
    problems = [row["reason"] for row in json.loads(done.stdout)]
    assert [row["state"] for row in json.loads(done.stdout)] == ["counts", "left out", "left out", "left out"]
    assert problems[0] == ""
    assert "not JSON" in problems[1]
    assert "input_format" in problems[2]
    assert "client name" in problems[3]
    assert "o'brien" in run("list").stdout


def test_the_list_is_empty_where_nothing_was_ever_announced(control: str) -> None:
    assert json.loads(run("list", "--json").stdout) == []


def test_a_table_s_columns_and_classes_are_announced_by_name(
    kafka: KafkaSettings, topic: str, control: str, tmp_path: Path
) -> None:
    (tmp_path / "d.csv").write_text("age,kind,bmi\n1,well,2\n3,ill,4\n5,well,6\n")
    assert run("send", str(tmp_path / "d.csv"), "--topic", topic, "--client", "c", "--label", "kind").exit_code == 0
    said = parse_data_announcement(read_announcements(kafka, control, 20)[0][2])
    assert (said.features, said.classes) == (["age", "bmi"], ["ill", "well"])
    x, y = get_codec(said.format).decode_records(read_ranges(kafka, said.ranges, 20))
    assert (x.tolist(), y.tolist()) == ([[1, 2], [3, 4], [5, 6]], [1, 0, 1])
    [row] = json.loads(run("list", "--json").stdout)
    assert (row["records"], row["columns"], row["shape"], row["type"], row["classes"]) == (
        3,
        2,
        "2",
        "float32",
        ["ill", "well"],
    )
    assert (row["restrictions"], row["held_out"], row["append"], row["state"], row["reason"]) == (
        {},
        0,
        False,
        "counts",
        "",
    )


def test_classes_keep_the_order_that_the_owner_gives(
    kafka: KafkaSettings, topic: str, control: str, tmp_path: Path
) -> None:
    (tmp_path / "d.csv").write_text("a,label\n1,well\n3,ill\n")
    (tmp_path / "classes.json").write_text('["well", "ill", "unknown"]')
    words = ["send", str(tmp_path / "d.csv"), "--topic", topic, "--client", "c", "--classes"]
    assert run(*words, str(tmp_path / "classes.json")).exit_code == 0
    assert parse_data_announcement(read_announcements(kafka, control, 20)[0][2]).classes == ["well", "ill", "unknown"]
    assert "label 'ill' of record 1 is none of the classes 'well', 'unknown'" in str(
        run(*words, "well, unknown").exception
    )
    (tmp_path / "classes.json").write_text('{"well": 0}')
    assert "must hold a JSON list of names" in str(run(*words, str(tmp_path / "classes.json")).exception)
    assert "cannot be read as a JSON list" in str(run(*words, "no-such.json").exception)


def test_numbered_labels_may_be_given_names_for_every_class(
    kafka: KafkaSettings, topic: str, control: str, file: str
) -> None:
    names = ",".join(f"digit {number}" for number in range(10))
    assert run("send", file, "--topic", topic, "--client", "c", "--classes", names).exit_code == 0
    done = run("send", file, "--topic", topic, "--client", "c", "--classes", "zero,one")
    assert "label 2 of record 2 is none of the stream's classes 0 to 1" in str(done.exception)
    assert isinstance(done.exception, UsageError)
    assert len(read_announcements(kafka, control, 20)) == 1


def test_a_second_send_says_what_it_supersedes_and_append_adds(topic: str, control: str, file: str) -> None:
    words = ["send", file, "--topic", topic, "--client", "c"]
    assert "supersedes" not in run(*words).stdout
    assert (
        f"this supersedes the earlier announcement of {topic}:0:0:40; pass --append to add to it instead"
        in run(*words).stdout
    )
    assert json.loads(run(*words, "--append", "--json").stdout)["supersedes"] == []
    rows = json.loads(run("list", "--json").stdout)
    assert [row["state"] for row in rows] == ["superseded", "counts", "counts"]
    assert f"superseded by a newer announcement of this client ({topic}:0:80:120)" in rows[0]["reason"]
    assert json.loads(run(*words, "--json").stdout)["supersedes"] == [f"{topic}:0:40:80", f"{topic}:0:80:120"]


def test_an_owner_who_may_not_read_the_control_topic_is_told_and_sends_all_the_same(
    topic: str, control: str, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise BrokerError("it refuses us")

    monkeypatch.setattr(announced, "read_announcements", refuse)
    done = run("send", file, "--topic", topic, "--client", "c")
    assert done.exit_code == 0
    assert "cannot read whether this supersedes earlier announcements of c: it refuses us" in " ".join(
        done.stderr.split()
    )


def test_a_client_withdraws_what_it_announced(kafka: KafkaSettings, topic: str, control: str, file: str) -> None:
    for client in ("c", "d"):
        assert run("send", file, "--topic", f"{topic}-{client}", "--client", client).exit_code == 0
    done = run("withdraw", "--client", "c")
    assert f"withdrew the announcements of c for {topic}-c" in done.stdout
    assert [row["state"] for row in json.loads(run("list", "--json").stdout)] == ["withdrawn", "counts", "withdrawal"]
    message = json.loads(read_announcements(kafka, control, 20)[-1][2])
    assert [json.loads(data) for _, _, data in read_announcements(kafka, f"c.{control}", 20)] == [message]
    assert (message["withdrawn"], message["topic"], message["total_msg"]) == (True, f"{topic}-c", 0)
    assert {"input_format", "input_config", "description", "dataset_restrictions", "validation_rate"} <= message.keys()
    assert run("send", file, "--topic", f"{topic}-c", "--client", "c").exit_code == 0
    assert json.loads(run("list", "--json").stdout)[-1]["state"] == "counts"


def test_a_withdrawal_of_one_topic_reads_nothing(
    topic: str, control: str, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("send", file, "--topic", topic, "--client", "c").exit_code == 0
    monkeypatch.setattr(announced, "read_announcements", None)
    assert json.loads(run("withdraw", "--client", "c", "--topic", topic, "--json").stdout) == {
        "client": "c",
        "withdrawn": [topic],
    }
    monkeypatch.undo()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--client", "c"], "client 'c' has announced nothing that could be withdrawn"),
        (["--client", "o'brien"], "client name"),
        (["--client", "c", "--topic", "a b"], "topic name"),
    ],
)
def test_what_cannot_be_withdrawn_is_a_usage_error(control: str, words: list[str], reason: str) -> None:
    done = run("withdraw", *words)
    assert isinstance(done.exception, UsageError), done.output
    assert reason in str(done.exception)


def test_nan_is_sent_only_where_that_is_asked_for(
    kafka: KafkaSettings, topic: str, control: str, tmp_path: Path
) -> None:
    (tmp_path / "d.csv").write_text("age,bmi,label\n1,2,0\n3,inf,1\n")
    words = ["send", str(tmp_path / "d.csv"), "--topic", topic, "--client", "c"]
    assert "the sample of record 1 has inf in column 'bmi' (1 of 2 records" in str(run(*words).exception)
    assert read_announcements(kafka, control, 20) == []
    assert run(*words, "--allow-nan").exit_code == 0
    (tmp_path / "d.csv").write_text("age,bmi,label\n1,2,0\n3,,1\n")
    assert "send NaN with --allow-nan" in str(run(*words).exception)
    assert run(*words, "--allow-nan").exit_code == 0


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
