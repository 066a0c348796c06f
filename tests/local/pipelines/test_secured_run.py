"""A whole run on a secured broker, by users who may do no more than they must, and what it wrote of their secrets."""

import logging
import os
from dataclasses import replace
from pathlib import Path

import pytest
from support.inprocess import pictures
from support.secured import GUEST_PASSWORD, SecuredKafka

from fedstream.audit.verify import verify_run
from fedstream.errors import BrokerError
from fedstream.local.inprocess import run_inprocess
from fedstream.steps.context import Context
from fedstream.store.disk import DiskStore
from fedstream.stream.broker import KafkaBrokers
from fedstream.stream.send import send_dataset

OWNERS = ("hospital-a", "hospital-b")


def written(folder: Path) -> bytes:
    return b"\n".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def secrets_of(server: SecuredKafka) -> list[str]:
    """Return every password, and the middle of every private key."""
    passwords = [server.user(name).password for name in (*OWNERS, "fedstream")]
    keys = [
        path.read_text().partition("PRIVATE KEY-----\n")[2].partition("\n")[0][-40:]
        for path in server.authority.folder.iterdir()
        if "PRIVATE KEY" in path.read_text()
    ]
    return [*passwords, *keys, GUEST_PASSWORD]


def test_a_run_of_least_privilege_leaves_no_secret_anywhere(
    secured_kafka: SecuredKafka,
    topic: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    for owner in OWNERS:
        send_dataset(secured_kafka.user(owner), f"{owner}.{topic}", owner, *pictures(len(topic), 40))
        with pytest.raises(BrokerError, match=f"user '{owner}' may not use topic 'elsewhere.{topic}'"):
            send_dataset(secured_kafka.user(owner), f"elsewhere.{topic}", owner, *pictures(1, 5))
    brokers, store = KafkaBrokers(secured_kafka.settings), DiskStore(tmp_path / "store")
    context = replace(Context.in_memory(), store=store, brokers=brokers)
    spec = {"run": "r", "model": "builtin:numpy-softmax", "clients": list(OWNERS), "rounds": 2, "own_topics": True}

    assert run_inprocess(spec, context=context) == 1

    assert verify_run(store, "r", brokers=KafkaBrokers(secured_kafka.settings)).problems == []
    output = capfd.readouterr()
    everything = written(tmp_path) + (caplog.text + output.out + output.err).encode() + secured_kafka.log.read_bytes()
    everything += (secured_kafka.folder / "server.properties").read_bytes().replace(GUEST_PASSWORD.encode(), b"")
    assert b"hospital-a" in everything
    assert len(secrets_of(secured_kafka)) >= 6
    assert [secret for secret in secrets_of(secured_kafka) if secret.encode() in everything] == []


def test_what_the_secured_broker_keeps_is_readable_for_its_owner_alone(secured_kafka: SecuredKafka) -> None:
    files = [*(secured_kafka.folder / "passwords").iterdir(), *secured_kafka.authority.folder.iterdir()]
    assert {path.stat().st_mode & 0o077 for path in files} == {0}
    assert not (secured_kafka.folder / "users.options").exists()
    command = Path(f"/proc/{secured_kafka.status().pid}/cmdline")
    assert not command.exists() or b"SCRAM" not in command.read_bytes()
    assert os.environ.get("KAFKA_PASSWORD", "") not in [secured_kafka.settings.password]
