"""Records are traced by their key through a real Kafka and a real store, and by their offset when the topic is gone."""

from __future__ import annotations

import json

import numpy as np
import pytest
from support.inprocess import pictures

from fedstream.local.inprocess import run_inprocess
from fedstream.model.split import split_mask
from fedstream.settings import KafkaSettings
from fedstream.stream.client import admin
from fedstream.stream.send import send_dataset

RECORDS = 60


@pytest.fixture
def sent(platform_env, topic):
    """Run a federation of two clients in numpy, and return the labels of the first one's records."""
    kafka, labels = KafkaSettings.from_env(platform_env), {}
    clients = [f"{topic}-{name}" for name in ("a", "b")]
    for number, client in enumerate(clients):
        x, labels[client] = pictures(number, RECORDS)
        send_dataset(kafka, client, client, x, labels[client], validation_rate=0.3)
    spec = {"run": "r", "model": "builtin:numpy-softmax", "clients": clients, "rounds": 1, "batch_size": 10}
    run_inprocess(spec)
    return clients[0], labels[clients[0]]


def test_records_are_traced_by_their_key_and_the_page_does_not_show_it(sent, cli, home):
    client, labels = sent
    held_out = split_mask(0, np.zeros(RECORDS, int), np.arange(RECORDS), 0.3)
    said = cli("trace", "--topic", client, "--key", "\x09", "--json", "--html", "found.html")
    assert said.code == 0, said.err
    found = json.loads(said.out)
    assert (found["looked_at"], found["records"]) == (RECORDS, (labels == 9).sum())
    ((use,),) = [traced["uses"] for traced in found["runs"]]
    assert use["client"] == client
    assert (use["trained"], use["held_out"]) == (((labels == 9) & ~held_out).sum(), ((labels == 9) & held_out).sum())
    assert "with this key" in (home / "found.html").read_text()
    nobody = cli("trace", "--topic", client, "--key", "p-4711")
    assert nobody.code == 0
    assert f"No model has used them. (1 run searched; {RECORDS} records looked at, 0 of which fit)" in nobody.out


def test_a_topic_that_is_gone_can_still_be_traced_by_offset(sent, cli):
    client, _ = sent
    with admin(KafkaSettings.from_env()) as asked:
        asked.delete_topics([client])
    lost = cli("trace", "--topic", client, "--key", "\x09")
    assert lost.code == 1
    assert f"there is no such topic at {KafkaSettings.from_env().bootstrap_servers}: '{client}'" in lost.err
    kept = cli("trace", "--topic", client, "--partition", "0", "--offset", "0", "--json")
    assert (kept.code, len(json.loads(kept.out)["runs"])) == (0, 1)
