"""Credentials of Kafka clusters: each is presented to the cluster that it was made for, and to no other."""

import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fedstream.credentials import MAX_BYTES
from fedstream.errors import BrokerError, SettingsError
from fedstream.settings import KafkaSettings
from fedstream.stream import client

USER, PASSWORD = "the-run's-user", "the-run's-password"
SASL = {
    "security_protocol": "SASL_PLAINTEXT",
    "sasl_mechanism": "PLAIN",
    "username": "a-user",
    "password": "a-password",
}


@dataclass
class Listener:
    """A server that accepts connections, keeps every byte that it is sent, lets the client come to its login,
    and hangs up.
    """

    server: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))
    heard: bytearray = field(default_factory=bytearray)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server.getsockname()[1]}"

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self.server.accept()
            except OSError:
                return
            threading.Thread(target=self._listen, args=(connection,), daemon=True).start()

    def _listen(self, connection: socket.socket) -> None:
        with connection:
            while data := connection.recv(65536):
                self.heard += data
                answer = _answer(data)
                if not answer:
                    return
                connection.sendall(answer)


def _answer(request: bytes) -> bytes:
    """Answer ApiVersions with what a login takes, and SaslHandshake with a yes;
    a client that would log in sends its password then.
    """
    api, version, correlation = (int.from_bytes(request[start:end], "big") for start, end in ((4, 6), (6, 8), (8, 12)))
    # ApiVersions: error, [(api, from, to)], and from version 1 on a throttle time; an unknown version is error 35
    if api == 18:
        offered = b"".join(key.to_bytes(2, "big") + b"\0\0" + (1).to_bytes(2, "big") for key in (3, 17, 18, 36))
        body = (
            (35 if version > 1 else 0).to_bytes(2, "big")
            + (4).to_bytes(4, "big")
            + offered
            + (b"\0\0\0\0" if version == 1 else b"")
        )
    elif api == 17:  # SaslHandshake: error, [mechanism]
        names = [b"PLAIN", b"SCRAM-SHA-256", b"SCRAM-SHA-512"]
        body = b"\0\0" + len(names).to_bytes(4, "big") + b"".join(len(name).to_bytes(2, "big") + name for name in names)
    else:
        return b""
    return (len(body) + 4).to_bytes(4, "big") + correlation.to_bytes(4, "big") + body


@pytest.fixture
def listener(monkeypatch: pytest.MonkeyPatch) -> Iterator[Listener]:
    monkeypatch.setattr(client, "CONNECT_S", 1.0)
    monkeypatch.setattr(client, "REQUEST_MS", 1000)
    opened = Listener()
    threading.Thread(target=opened.serve, daemon=True).start()
    yield opened
    opened.server.close()


def knock(kafka: KafkaSettings) -> None:
    with (
        pytest.raises(BrokerError, match="KAFKA_CREDENTIALS_FILE" if kafka.stranger else "KAFKA_PASSWORD"),
        client.consumer(kafka) as opened,
    ):
        opened.topics()


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_an_address_of_the_form_is_sent_no_credentials_that_were_made_for_another(
    listener: Listener, mechanism: str
) -> None:
    default = KafkaSettings("kafka.example.com:9093", "SASL_PLAINTEXT", mechanism, USER, PASSWORD)
    knock(default.at(listener.address))
    assert listener.heard
    assert USER.encode() not in listener.heard
    assert PASSWORD.encode() not in listener.heard
    knock(KafkaSettings(listener.address, "SASL_PLAINTEXT", mechanism, USER, PASSWORD))
    assert USER.encode() in listener.heard, "the listener would have heard it"


def test_an_address_with_credentials_on_file_is_sent_those(listener: Listener, tmp_path: Path) -> None:
    file = written(tmp_path, {listener.address: SASL})
    knock(
        KafkaSettings("kafka.example.com:9093", "SASL_PLAINTEXT", "PLAIN", USER, PASSWORD, credentials_file=file).at(
            listener.address
        )
    )
    assert b"a-user" in listener.heard
    assert USER.encode() not in listener.heard


def written(folder: Path, said: object) -> str:
    (folder / "brokers.json").write_text(said if isinstance(said, str) else json.dumps(said))
    return str(folder / "brokers.json")


DEFAULT = KafkaSettings(
    "b1:9093,b2:9093", "SASL_SSL", "SCRAM-SHA-512", USER, PASSWORD, "/ca.crt", "/user.crt", "/user.key"
)


@pytest.mark.parametrize("same", ["", "b1:9093,b2:9093", "b2:9093, B1:9093"])
def test_the_runs_own_cluster_gets_its_own_whatever_the_order(same: str) -> None:
    assert DEFAULT.at(same) == DEFAULT


@pytest.mark.parametrize(
    "other",
    ["b1:9093", "b1:9093,b2:9093,evil:9093", "evil:9093", "x://b1:9093,b2:9093", "b1:9092,b2:9092", "b1:9093;b2:9093"],
)
def test_another_cluster_gets_at_most_the_authority(other: str) -> None:
    assert DEFAULT.at(other) == KafkaSettings(other, "SSL", ca_file="/ca.crt", stranger=True)


@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SASL_PLAINTEXT"])
def test_another_cluster_of_a_run_without_tls_is_met_in_plain_text(protocol: str) -> None:
    assert KafkaSettings("b1:9092", protocol, "PLAIN", USER, PASSWORD).at("other:9092") == KafkaSettings(
        "other:9092", stranger=True
    )


def test_what_is_on_file_replaces_all_and_its_files_lie_beside_it(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        {
            "C2:9094,c1": SASL | {"security_protocol": "SASL_SSL", "ca_file": "c.crt"},
            "d:1": {"security_protocol": "SSL"},
        },
    )
    own = KafkaSettings(
        "b1:9093", "SSL", ca_file="/ca.crt", cert_file="/user.crt", key_file="/user.key", credentials_file=file
    )
    assert own.at("c1:9092,c2:9094") == KafkaSettings(
        "c1:9092,c2:9094", "SASL_SSL", "PLAIN", "a-user", "a-password", str(tmp_path / "c.crt"), credentials_file=file
    )
    assert own.at("d:1") == KafkaSettings("d:1", "SSL", credentials_file=file)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("{", "Invalid JSON"),
        ([SASL], "the file: Input should be an object"),
        ({"a:1": {}}, "a:1.security_protocol: Field required"),
        ({"a:1": {**SASL, "security_protocol": "TLS"}}, "a:1.security_protocol: Input should be 'PLAINTEXT'"),
        ({"a:1": {**SASL, "token": "hidden-word"}}, "a:1.token: Extra inputs"),
        (
            {"a:1": {**SASL, "password": ""}},
            "a:1: Value error, SASL_PLAINTEXT and SASL_SSL require sasl_mechanism, username and password",
        ),
        ({"a:1": {**SASL, "password": ["hidden-word"]}}, "a:1.password: Input should be a valid string"),
        ({"a:1": {**SASL, "security_protocol": "SSL"}}, "other protocols accept none of them"),
        ({"a:1,b:2": SASL, "b:2,A:1": SASL}, "contains 'b:2,A:1' more than once"),
        ({str(number): SASL for number in range(1001)}, "at most 1000 items"),
        (" " * (MAX_BYTES + 1), "is larger than 1048576 bytes"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_and_not_shown(tmp_path: Path, said: object, why: str) -> None:
    file = written(tmp_path, said)
    with pytest.raises(SettingsError) as refused:
        KafkaSettings("b:1", credentials_file=file).at("other:1")
    assert file in str(refused.value)
    assert why in str(refused.value)
    shown = f"{refused.value}{refused.value.__cause__}{refused.value.__context__}"
    assert not [word for word in ("a-user", "a-password", "hidden-word") if word in shown]


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        SettingsError, match=r"KAFKA_CREDENTIALS_FILE is '.*none.json', which cannot be read \(No such file"
    ):
        KafkaSettings("b:1", credentials_file=str(tmp_path / "none.json")).at("other:1")


def test_the_environment_names_the_file() -> None:
    env = {"KAFKA_BOOTSTRAP_SERVERS": "b:1", "KAFKA_CREDENTIALS_FILE": "/f.json"}
    assert KafkaSettings.from_env(env).credentials_file == "/f.json"


OAUTH = {"KAFKA_BOOTSTRAP_SERVERS": "b:1", "KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "KAFKA_SASL_MECHANISM": "OAUTHBEARER"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"KAFKA_SASL_MECHANISM": "GSSAPI"}, "KAFKA_SASL_MECHANISM is 'GSSAPI'; set it to PLAIN or SCRAM-SHA-256 or"),
        ({}, "KAFKA_OAUTH_URL is ''; set it to https://"),
        (
            {"KAFKA_OAUTH_URL": "http://sso.example/token"},
            "KAFKA_OAUTH_URL is 'http://sso.example/token'; set it to https",
        ),
        ({"KAFKA_OAUTH_URL": "https://me:word@sso.example"}, "KAFKA_OAUTH_URL contains a user name or a password"),
        ({"KAFKA_PASSWORD": ""}, "also set KAFKA_SASL_MECHANISM, KAFKA_USERNAME and KAFKA_PASSWORD"),
    ],
)
def test_a_login_that_cannot_work_is_refused_before_it_is_tried(change: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match=said) as raised:
        KafkaSettings.from_env({"KAFKA_USERNAME": USER, "KAFKA_PASSWORD": PASSWORD} | OAUTH | change)
    assert "word@" not in str(raised.value)


@pytest.mark.parametrize("url", ["https://sso.example/token", "http://127.0.0.1:8080/token", "http://localhost/token"])
def test_a_client_secret_is_sent_in_the_clear_to_this_machine_alone(url: str, tmp_path: Path) -> None:
    login = {"KAFKA_USERNAME": USER, "KAFKA_PASSWORD": PASSWORD, "KAFKA_OAUTH_URL": url}
    assert KafkaSettings.from_env(login | OAUTH).oauth_url == url
    entry = SASL | {"security_protocol": "SASL_SSL", "sasl_mechanism": "OAUTHBEARER", "oauth_url": url}
    (tmp_path / "brokers.json").write_text(json.dumps({"c:1": entry}))
    assert KafkaSettings("b:1", credentials_file=str(tmp_path / "brokers.json")).at("c:1").oauth_url == url
