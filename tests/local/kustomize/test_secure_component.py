"""What kustomize/components/secure makes of a real broker:
its properties, its certificates, its users and their rights.
"""

import importlib.util
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from support.data import write_one

from fedstream.errors import BrokerError, SettingsError
from fedstream.local.kafka import KafkaServer
from fedstream.local.service import NotReadyError
from fedstream.record.offsets import parse_ranges
from fedstream.settings import KafkaSettings
from fedstream.stream import client
from fedstream.stream.announcement import DATA_CONTROL_TOPIC, MODEL_CONTROL_TOPIC
from fedstream.stream.client import admin
from fedstream.stream.control import read_announcements
from fedstream.stream.reader import check_retention, topic_bounds
from fedstream.stream.send import create_topic

COMPONENTS = Path(__file__).parents[3] / "kustomize/components"


def users_script() -> Any:
    spec = importlib.util.spec_from_file_location("kafka_users", COMPONENTS / "secure/users.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def properties(text: str) -> dict[str, str]:
    lines = text.replace("\\\n", "").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


class SecureKafka(KafkaServer):
    """The embedded Kafka with the properties of the pod, but for ports and paths."""

    port_names: ClassVar[tuple[str, ...]] = ("inside", "outside", "controller")
    secrets: Path

    @property
    def settings(self) -> KafkaSettings:
        password = (self.secrets / "kafka-admin/password").read_text()
        return KafkaSettings(self.address, "SASL_SSL", "PLAIN", "admin", password, str(self.secrets / "ca.crt"))

    def _properties(self) -> dict[str, object]:
        plain = (COMPONENTS / "kafka/server.properties").read_text()
        for port, name in ((9092, "inside"), (9094, "outside"), (9093, "controller")):
            plain = plain.replace(f":{port}", f":{self.ports[name]}")
        secured = re.sub(
            "/etc/(kafka-tls|kafka-admin)", rf"{self.secrets}/\1", (COMPONENTS / "secure/broker.properties").read_text()
        )
        addresses = {
            "advertised.listeners": ",".join(
                f"{name.upper()}://127.0.0.1:{self.ports[name]}" for name in ("inside", "outside")
            )
        }
        return properties(plain) | properties(secured) | {"log.dirs": str(self.data)} | addresses

    def probe(self) -> None:
        try:
            with admin(self.settings) as asked:
                asked.list_topics()
        except BrokerError as error:
            raise NotReadyError(str(error)) from error


@dataclass
class Secured:
    """A secured broker, and how to run users.py against it again."""

    secrets: Path
    outside: KafkaSettings
    apply: Callable[[], None]

    def user(self, name: str) -> KafkaSettings:
        file = self.secrets / ("fedstream-kafka/password" if name == "fedstream" else f"kafka-users/{name}")
        return replace(self.outside, username=name, password=file.read_text())


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    secrets = tmp_path_factory.mktemp("secrets")
    subprocess.run([COMPONENTS / "secure/make-secrets", secrets, "hospital-a", "hospital-b"], check=True, timeout=60)
    server = SecureKafka(tmp_path_factory.mktemp("secure"), bound=True, say=print)
    server.secrets = secrets
    server.start()
    script = users_script()
    script.OWNERS, script.RUN = secrets / "kafka-users", secrets / "fedstream-kafka"
    with pytest.MonkeyPatch.context() as patch:
        inside = server.settings
        for name, value in {
            "BOOTSTRAP_SERVERS": inside.bootstrap_servers,
            "SECURITY_PROTOCOL": inside.security_protocol,
            "SASL_MECHANISM": inside.sasl_mechanism,
            "USERNAME": inside.username,
            "PASSWORD": inside.password,
            "CA_FILE": inside.ca_file,
        }.items():
            patch.setenv(f"KAFKA_{name}", value)
        patch.setattr(client, "CONNECT_S", 2.0)
        script.main()
        yield Secured(
            secrets,
            KafkaSettings(f"127.0.0.1:{server.ports['outside']}", "SASL_SSL", "SCRAM-SHA-512", ca_file=inside.ca_file),
            script.main,
        )
    server.stop()


def read(kafka: KafkaSettings, topic: str) -> list[bytes]:
    return [value for _, _, value in read_announcements(kafka, topic, 20)]


def refused(kafka: KafkaSettings, topic: str, ask: Callable[[KafkaSettings, str], Any]) -> None:
    with pytest.raises(BrokerError, match=rf"user '{kafka.username}' may not use topic '{topic}'"):
        ask(kafka, topic)


def test_an_owner_writes_its_own_topics_and_announces_and_the_run_reads_them(secured: Secured) -> None:
    owner, run = secured.user("hospital-a"), secured.user("fedstream")
    create_topic(owner, "hospital-a.ward7", 2)
    assert len(topic_bounds(owner, "hospital-a.ward7")) == 2
    for topic in ("hospital-a.ward7", "hospital-a.made-by-writing", DATA_CONTROL_TOPIC):
        write_one(owner, topic)
        assert read(run, topic) == [b"value"]
    check_retention(run, parse_ranges("hospital-a.ward7:0:0:1"))


def test_the_run_announces_models_and_owners_hear_of_them(secured: Secured) -> None:
    write_one(secured.user("fedstream"), MODEL_CONTROL_TOPIC)
    assert read(secured.user("hospital-a"), MODEL_CONTROL_TOPIC) == [b"value"]
    write_one(secured.user("fedstream"), "fedstream.predictions")


def test_an_owner_can_neither_read_nor_write_what_is_not_its_own(secured: Secured) -> None:
    a, b = secured.user("hospital-a"), secured.user("hospital-b")
    write_one(b, "hospital-b.ward1")
    for topic in ("hospital-b.ward1", "hospital-b.new", MODEL_CONTROL_TOPIC, "hospital-ab.ward1", "elsewhere"):
        refused(a, topic, write_one)
    for topic in ("hospital-b.ward1", DATA_CONTROL_TOPIC):
        with pytest.raises(BrokerError, match=rf"user 'hospital-a' may not use topic '{topic}'"):
            read(a, topic)
    write_one(a, "hospital-a.own")
    refused(a, "hospital-a.own", read)


def test_the_run_cannot_write_an_owners_topic(secured: Secured) -> None:
    write_one(secured.user("hospital-a"), "hospital-a.mine")
    refused(secured.user("fedstream"), "hospital-a.mine", write_one)


@pytest.mark.parametrize("wrong", [{"password": "wrong-password"}, {"username": "stranger"}, {"username": "admin"}])
def test_who_is_not_known_is_refused(secured: Secured, wrong: dict[str, str]) -> None:
    with pytest.raises(BrokerError, match="refuse the credentials"):
        write_one(replace(secured.user("hospital-a"), **wrong), "hospital-a.ward7")


def test_admin_cannot_come_from_outside(secured: Secured) -> None:
    password = (secured.secrets / "kafka-admin/password").read_text()
    for mechanism in ("PLAIN", "SCRAM-SHA-512"):
        with pytest.raises(BrokerError, match=r"refuse the credentials|do not offer PLAIN"):
            write_one(replace(secured.outside, username="admin", password=password, sasl_mechanism=mechanism), "any")


def test_a_broker_with_another_authority_is_not_trusted(secured: Secured, tmp_path: Path) -> None:
    subprocess.run([COMPONENTS / "secure/make-secrets", tmp_path], check=True, timeout=60)
    with pytest.raises(BrokerError):
        write_one(replace(secured.user("fedstream"), ca_file=str(tmp_path / "ca.crt")), "fedstream.any")


def test_a_second_run_follows_the_secrets(secured: Secured, capsys: pytest.CaptureFixture[str]) -> None:
    owners = secured.secrets / "kafka-users"
    subprocess.run([COMPONENTS / "secure/make-secrets", secured.secrets, "leaver"], check=True, timeout=60)
    secured.apply()
    leaver = secured.user("leaver")
    write_one(leaver, "leaver.data")
    (owners / "leaver").unlink()
    (owners / "hospital-b").write_text("another-password")
    secured.apply()
    assert "users: fedstream, hospital-a, hospital-b; removed: leaver; rights: 19" in capsys.readouterr().out
    with pytest.raises(BrokerError, match="refuse the credentials"):
        write_one(leaver, "leaver.data")
    write_one(secured.user("hospital-b"), "hospital-b.ward1")
    (owners / "leaver").write_text(leaver.password)
    secured.apply()
    assert "removed: none" in capsys.readouterr().out
    write_one(leaver, "leaver.data")
    (owners / "leaver").unlink()
    secured.apply()


@pytest.mark.parametrize(
    ("name", "password", "said"),
    [
        ("Ward", "long-enough", "'Ward' is not a valid user"),
        ("ward", "with-line-end\n", "white space"),
        ("fedstream", "long-enough", "must differ from those"),
    ],
)
def test_secrets_that_cannot_be_are_refused_before_the_broker_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, password: str, said: str
) -> None:
    script = users_script()
    run, owners = tmp_path / "run", tmp_path / "owners"
    for folder in (run, owners):
        folder.mkdir()
    (run / "username").write_text("fedstream")
    (run / "password").write_text("long-enough")
    (owners / name).write_text(password)
    monkeypatch.setattr(script, "OWNERS", owners)
    monkeypatch.setattr(script, "RUN", run)
    with pytest.raises(SettingsError, match=said):
        script.main()
