"""A control topic with broken announcements: the plan is made of the good ones,
and says why the others are not in it.
"""

import json

import pytest
from kafka import KafkaProducer
from support.data import send_clients

from fedstream.errors import QuorumError
from fedstream.record.layout import RunKeys
from fedstream.record.run import RunRecord
from fedstream.steps import plan, plan_training
from fedstream.store.objects import ObjectStore
from fedstream.stream import send
from fedstream.text import markdown

CONFIG = {"data_type": "float32", "data_reshape": "8 8", "label_type": "uint8", "label_reshape": "1"}
FINE = {"topic": "t:0:0:5", "input_format": "RAW", "input_config": CONFIG}

BROKEN = [
    (b"no json", "the announcement is not JSON"),
    (None, "not JSON"),
    ({"topic": "t:0:0:5"}, "input_format: Field required"),
    ({**FINE, "client": "x", "validation_rate": 1}, "validation_rate: 1.0 is not in [0, 1)"),
    ({**FINE, "client": "x", "input_config": {**CONFIG, "data_reshape": "28 28"}}, "does not fit"),
    ({**FINE, "client": "x", "input_format": "XML"}, "'XML' is not offered"),
    ({**FINE, "client": "x", "topic": "t"}, "online stream 't' without offsets"),
    ({**FINE, "client": 'o\'brien | "x"'}, "cannot be used"),
]


@pytest.fixture
def control(platform, topic, monkeypatch):
    """A control topic of the test's own, which holds nothing but broken announcements."""
    monkeypatch.setattr(plan, "DATA_CONTROL_TOPIC", topic)
    monkeypatch.setattr(send, "DATA_CONTROL_TOPIC", topic)
    with KafkaProducer(**platform.kafka.client_args()) as producer:
        for said, _ in BROKEN:
            value = json.dumps(said).encode() if isinstance(said, dict) else said
            producer.send(topic, key=b"\0", value=value).get(20)
    return topic


def test_the_plan_is_made_of_the_good_ones_and_says_why_the_others_are_not_in_it(
    platform, platform_env, control, tmp_path
):
    clients = send_clients(platform.kafka)
    page = tmp_path / "page.md"
    assert plan_training({"run": "r", "model": "builtin:digits-mlp", "rounds": 2}, 10**9, str(page)) == [0, 1, 2]
    record = RunRecord.model_validate_json(ObjectStore.from_env().get(RunKeys("r").spec))
    assert [client.client for client in record.clients] == clients
    assert [row.accepted for row in record.announcements] == [False] * len(BROKEN) + [True, True]
    refused, taken = (rows_of(page.read_text(), title) for title in ("Refused", "Announcements that were taken"))
    for (_, reason), row, line in zip(BROKEN, record.announcements, refused, strict=False):
        assert reason in row.reason
        assert markdown(reason) in line
    assert len(refused) == sum(row.related and not row.accepted for row in record.announcements)
    assert sum("| takes part |" in line for line in taken) == len(taken) == 2


def rows_of(page, title):
    """Return the rows of the table under a heading."""
    return [line for line in page.split(f"## {title}\n")[1].split("## ")[0].splitlines()[3:] if line.startswith("|")]


def test_a_plan_without_a_good_one_says_what_was_wrong(platform_env, control):
    with pytest.raises(QuorumError, match=r"0 clients match and the quorum is 1\. Announcements refused: .*XML"):
        plan_training({"run": "r", "model": "builtin:digits-mlp"}, 10**9)
