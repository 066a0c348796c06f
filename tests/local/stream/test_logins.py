"""Every way to log in to a broker, and one clear line for whatever can be wrong with it."""

import logging
import re
import ssl
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.data import write_one
from support.secured import SecuredKafka, TokenServer
from support.tls_server import tls_server

from fedstream.errors import BrokerAway, BrokerError, SettingsError
from fedstream.local.authority import Authority
from fedstream.settings import KafkaSettings
from fedstream.stream import client, oauth
from fedstream.stream.reader import topic_bounds

Change = Callable[[SecuredKafka, Path], KafkaSettings]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "CONNECT_S", 1.0)


def with_certificate(server: SecuredKafka, name: str = "hospital-a", days: float = 30) -> KafkaSettings:
    return server.certified(server.authority.issue(name, days=days))


@pytest.mark.parametrize(
    "login",
    [
        lambda server: server.user("hospital-a"),
        with_certificate,
        lambda server: server.with_token("hospital-o"),
    ],
    ids=["SCRAM-SHA-512", "certificate", "OAUTHBEARER"],
)
def test_who_logs_in_has_the_rights_of_its_name(
    secured_kafka: SecuredKafka, topic: str, login: Callable[[SecuredKafka], KafkaSettings]
) -> None:
    settings = login(secured_kafka)
    owner = settings.username or "hospital-a"
    if owner == "hospital-o":
        with pytest.raises(BrokerError, match=f"user 'hospital-o' may not use topic 'hospital-o.{topic}'"):
            write_one(settings, f"hospital-o.{topic}")
        return
    write_one(settings, f"hospital-a.{topic}")
    assert topic_bounds(secured_kafka.settings, f"hospital-a.{topic}") == {0: (0, 1)}
    who = f"user {owner!r}" if settings.username else "the holder of the certificate '.*hospital-a.pem'"
    with pytest.raises(
        BrokerError, match=f"{who} may not use topic 'hospital-b.{topic}' at .*; ask the broker's owner"
    ):
        write_one(settings, f"hospital-b.{topic}")


def test_plain_passwords_are_sent_through_tls(secured_kafka: SecuredKafka, topic: str) -> None:
    with pytest.raises(BrokerError, match=f"user 'guest' may not use topic '{topic}'"):
        write_one(secured_kafka.guest(), topic)


def elsewhere(server: SecuredKafka, folder: Path) -> KafkaSettings:
    Authority(folder).ensure()
    return replace(server.settings, ca_file=str(folder / "ca.crt"))


def foreign_certificate(server: SecuredKafka, folder: Path) -> KafkaSettings:
    return server.certified(Authority(folder).issue("hospital-a"))


def port_of(server: SecuredKafka, name: str) -> str:
    return f"127.0.0.1:{server.ports[name]}"


WRONG: dict[str, tuple[Change, str]] = {
    "password": (
        lambda server, _: replace(server.user("hospital-a"), password="not-the-word"),
        r"refuse the credentials of user 'hospital-a' .*no such user or the password is wrong: check KAFKA_USERNAME",
    ),
    "password of PLAIN": (
        lambda server, _: replace(server.guest(), password="not-the-word"),
        r"refuse the credentials of user 'guest' .*no such user or the password is wrong: check KAFKA_USERNAME",
    ),
    "user": (
        lambda server, _: replace(server.user("hospital-a"), username="hospital-c"),
        r"refuse the credentials of user 'hospital-c' .*no such user",
    ),
    "mechanism": (
        lambda server, _: replace(server.user("hospital-a"), sasl_mechanism="SCRAM-SHA-256"),
        # kafka-python loses the answer of a broker that closes the connection at once.
        r"do not offer SCRAM-SHA-256 .*set KAFKA_SASL_MECHANISM|refuse the credentials .*check .*KAFKA_SASL_MECHANISM",
    ),
    "authority of the broker": (
        elsewhere,
        r"certificate of 127.0.0.1:\d+ comes from another authority than the one in KAFKA_CA_FILE, '.*ca.crt' .*"
        "set KAFKA_CA_FILE to the certificate of the authority",
    ),
    "no authority": (
        lambda server, _: replace(server.settings, ca_file=""),
        r"another authority than a public one: KAFKA_CA_FILE is not set .*set KAFKA_CA_FILE",
    ),
    "authority of the client": (
        foreign_certificate,
        r"does not accept the client certificate .*hospital-a.pem.* know its authority: ask the broker's owner",
    ),
    "expired certificate of the client": (
        lambda server, _: with_certificate(server, "hospital-b", days=-1),
        r"does not accept the client certificate '.*hospital-b.pem' .*it has expired",
    ),
    "no certificate": (
        lambda server, _: replace(with_certificate(server), cert_file=""),
        r"asks for a client certificate .*set KAFKA_CERT_FILE and KAFKA_KEY_FILE",
    ),
    "no TLS": (
        lambda server, _: replace(server.user("hospital-a"), security_protocol="SASL_PLAINTEXT"),
        r"speaks TLS, but KAFKA_SECURITY_PROTOCOL is SASL_PLAINTEXT; set it to SASL_SSL",
    ),
    "neither": (
        lambda server, _: KafkaSettings(server.address),
        r"speaks TLS, but KAFKA_SECURITY_PROTOCOL is PLAINTEXT; set it to SSL or SASL_SSL, and KAFKA_CA_FILE",
    ),
    "no TLS where a certificate is asked for": (
        lambda server, _: KafkaSettings(port_of(server, "certificates")),
        r"speaks TLS, but KAFKA_SECURITY_PROTOCOL is PLAINTEXT",
    ),
    "no login": (
        lambda server, _: replace(server.settings, security_protocol="SSL", sasl_mechanism="", username=""),
        r"closes connections that do not log in; set KAFKA_SECURITY_PROTOCOL to SASL_SSL, and KAFKA_SASL_MECHANISM",
    ),
    "login where a certificate is enough": (
        lambda server, _: replace(
            with_certificate(server), security_protocol="SASL_SSL", sasl_mechanism="PLAIN", username="u", password="p"
        ),
        r"ask for no login; set KAFKA_SECURITY_PROTOCOL to SSL",
    ),
}


@pytest.mark.parametrize(("change", "said"), WRONG.values(), ids=WRONG)
def test_one_line_says_what_is_wrong_and_what_to_do(
    secured_kafka: SecuredKafka, topic: str, tmp_path: Path, change: Change, said: str
) -> None:
    settings = change(secured_kafka, tmp_path)
    with pytest.raises(BrokerError) as raised:
        topic_bounds(settings, topic)
    line = str(raised.value)
    assert re.search(said, line), line
    assert "\n" not in line
    assert "not-the-word" not in line


def test_tls_spoken_to_a_port_without_it_is_told(kafka: KafkaSettings, secured_kafka: SecuredKafka, topic: str) -> None:
    for settings, protocol in (
        (secured_kafka.settings, "SASL_PLAINTEXT"),
        (with_certificate(secured_kafka), "PLAINTEXT"),
    ):
        with pytest.raises(
            BrokerError, match=rf"does not speak TLS, which .* asks for; .*set KAFKA_SECURITY_PROTOCOL to {protocol}$"
        ):
            topic_bounds(replace(settings, bootstrap_servers=kafka.bootstrap_servers), topic)


def test_a_login_where_none_is_asked_for_is_told(kafka: KafkaSettings, topic: str) -> None:
    settings = KafkaSettings(kafka.bootstrap_servers, "SASL_PLAINTEXT", "PLAIN", "u", "p")
    with pytest.raises(BrokerError, match="ask for no login; set KAFKA_SECURITY_PROTOCOL to PLAINTEXT"):
        topic_bounds(settings, topic)


@pytest.mark.parametrize(
    ("host", "days", "said"),
    [
        ("127.0.0.1", -1, "{} has expired; ask the broker's owner to renew it"),
        ("kafka.example", 30, "{} is not for '127.0.0.1'; use an address that it names in KAFKA_BOOTSTRAP_SERVERS"),
    ],
)
def test_a_certificate_that_is_not_for_now_or_here_is_told(
    secured_kafka: SecuredKafka, topic: str, host: str, days: int, said: str
) -> None:
    """The broker itself has one certificate; a TLS server with another one of the same authority is enough."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(secured_kafka.authority.issue("other", [host], days))
    with (
        tls_server(context) as address,
        pytest.raises(BrokerError, match=f"the certificate of {said.format(address)}"),
    ):
        topic_bounds(replace(secured_kafka.settings, bootstrap_servers=address), topic)


def test_certificate_files_that_are_none_are_told(secured_kafka: SecuredKafka, topic: str, tmp_path: Path) -> None:
    own, other = secured_kafka.authority.issue("own"), secured_kafka.authority.issue("other")
    (tmp_path / "nothing.pem").write_text("nothing")
    base = secured_kafka.certified(own)
    for change, said in (
        ({"ca_file": str(tmp_path / "nothing.pem")}, "KAFKA_CA_FILE is '.*nothing.pem', which contains no certificate"),
        ({"cert_file": str(tmp_path / "nothing.pem")}, "KAFKA_CERT_FILE .* cannot be used .* in PEM format"),
        (
            {"key_file": str(other)},
            "KAFKA_KEY_FILE '.*other.pem' cannot be used .*a certificate and its own private key",
        ),
        ({"cert_file": "", "key_file": str(own)}, "KAFKA_KEY_FILE is set, but KAFKA_CERT_FILE is not"),
        ({"key_file": "/nowhere/key.pem"}, "KAFKA_KEY_FILE is '/nowhere/key.pem', and there is no such file"),
    ):
        with pytest.raises(SettingsError, match=said):
            topic_bounds(replace(base, **change), topic)


def test_a_token_is_asked_for_once_and_again_when_it_is_about_to_expire(secured_kafka: SecuredKafka) -> None:
    tokens, now = secured_kafka.tokens, 0.0
    provider = oauth.ClientCredentials(secured_kafka.with_token("hospital-o"), clock=lambda: now)
    before = len(tokens.forms)
    first = provider.token()
    now = 0.79 * tokens.lifetime_s
    assert provider.token() == first
    assert tokens.forms[before:] == [{"grant_type": "client_credentials", "scope": "kafka"}]
    now = 0.81 * tokens.lifetime_s
    provider.token()
    assert len(tokens.forms) == before + 2


def test_a_wrong_client_secret_is_told(secured_kafka: SecuredKafka, topic: str) -> None:
    with pytest.raises(
        BrokerError, match=r"token endpoint .* refuses client 'hospital-o' \(invalid_client\); check KAFKA_USERNAME"
    ):
        topic_bounds(replace(secured_kafka.with_token("hospital-o"), password="not-the-word"), topic)


def test_a_token_that_the_broker_does_not_trust_is_told(secured_kafka: SecuredKafka, topic: str) -> None:
    with TokenServer().running() as stranger:
        settings = replace(secured_kafka.with_token("hospital-o"), oauth_url=f"{stranger.url}/token")
        with pytest.raises(BrokerError, match=r"refuse the token of user 'hospital-o' .*check KAFKA_OAUTH_URL"):
            topic_bounds(settings, topic)


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        ((500, "broken"), BrokerAway, "answers with status 500"),
        ((302, "there"), BrokerError, "answers with status 302"),
        ((200, "no JSON"), BrokerError, "answers without a bearer token"),
        ((200, {"access_token": "a\x01auth=Bearer b"}), BrokerError, "answers without a bearer token"),
        ((200, {"access_token": "abc", "token_type": "mac"}), BrokerError, "answers without a bearer token"),
        ((200, "x" * 100_000), BrokerError, "answers without a bearer token"),
        ((400, {"error": "<script>"}), BrokerError, r"refuses client 'hospital-o' \(status 400\)"),
        (3.0, BrokerAway, "does not answer .*check KAFKA_OAUTH_URL"),
    ],
)
def test_whatever_a_token_endpoint_answers_is_one_line(
    secured_kafka: SecuredKafka,
    monkeypatch: pytest.MonkeyPatch,
    answer: object,
    kind: type[BrokerError],
    said: str,
) -> None:
    monkeypatch.setattr(oauth, "TIMEOUT_S", 0.5)
    secured_kafka.tokens.first.append(answer)
    with pytest.raises(kind, match=said) as raised:
        oauth.ClientCredentials(secured_kafka.with_token("hospital-o")).token()
    assert "\n" not in str(raised.value)


def test_an_absent_token_endpoint_is_told(secured_kafka: SecuredKafka, topic: str) -> None:
    settings = replace(secured_kafka.with_token("hospital-o"), oauth_url="http://127.0.0.1:9/token")
    with pytest.raises(BrokerAway, match=r"token endpoint http://127.0.0.1:9/token does not answer .*refused"):
        topic_bounds(settings, topic)


def test_a_refused_login_leaves_no_secret_in_the_log(
    secured_kafka: SecuredKafka, topic: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(logging.getLogger("kafka"), "propagate", True)
    for settings in (secured_kafka.user("hospital-a"), secured_kafka.with_token("hospital-o")):
        with pytest.raises(BrokerError):
            topic_bounds(replace(settings, password="not-the-word"), topic)
    assert "Bootstrap attempt" in caplog.text or "Attempting bootstrap" in caplog.text
    assert "not-the-word" not in caplog.text
