"""`fedstream infer`, killed when predictions are stored and their offsets are not committed: nothing is left out."""

import signal
from collections import Counter

from kafka import KafkaProducer
from support.serving import read_topic

from fedstream.stream.send import create_topic


def test_the_next_member_predicts_what_a_killed_one_had_not_committed(undisturbed, zygote, kafka, topic):
    send(kafka, topic, partitions=2, records=40)
    words = [
        "--model",
        "builtin:digits-mlp",
        "--input-topic",
        topic,
        "--output-topic",
        f"{topic}-out",
        "--batch-size",
        "5",
    ]
    assert zygote.infer(undisturbed.env, *words, commits=3) == {"signal": signal.SIGKILL}, zygote.tail()
    before = Counter(source(record) for record in read_topic(kafka, f"{topic}-out"))
    assert 10 < len(before) <= 15
    assert zygote.infer(undisturbed.env, *words, "--until-end") == {"signal": 0, "exit": 0}, zygote.tail()
    after = Counter(source(record) for record in read_topic(kafka, f"{topic}-out"))
    assert after.keys() == {f"{topic}:{number % 2}:{number // 2}" for number in range(40)}
    doubled = {name for name, times in after.items() if times > 1}
    assert doubled <= before.keys()
    assert 1 <= len(doubled) <= 5


def send(kafka, topic, partitions, records):
    create_topic(kafka, topic, partitions)
    writer = KafkaProducer(**kafka.client_args())
    for number in range(records):
        writer.send(topic, value=bytes(256), partition=number % partitions)
    writer.close()


def source(record):
    return dict(record.headers)["fedstream-source"].decode()
