"""Find out why no broker grants access.

kafka-python reports every reason as "Unable to bootstrap", and a broker that rejects a client often just closes the
connection. This module therefore looks at what the port speaks.
"""

from __future__ import annotations

import logging
import socket
import ssl

from fedstream.errors import BrokerError, StreamError
from fedstream.settings import KafkaSettings
from fedstream.stream.tls import reason_of, tls_context, why_distrusted

PROBE_S = 2.0
"""Time limit for each look at a port, in seconds."""

ALERT_S = 0.5
"""Time that a broker has to reject a client certificate after the handshake, in seconds."""

HUNG_UP = ("socket disconnected", "Connection reset", "ECONNRESET", "Broken pipe")
"""What kafka-python says of a broker that closed a connection."""


class LastFailure(logging.Handler):
    """Keep the last telling exception that kafka-python logged: the cause of "Unable to bootstrap".

    A broker's answer to a login says more than that a later connection was closed, and that time ran out says least.
    """

    error: Exception | None = None

    def emit(self, record: logging.LogRecord) -> None:
        from kafka.errors import (
            IllegalSaslStateError,
            KafkaConnectionError,
            KafkaTimeoutError,
            RequestTimedOutError,
            SaslAuthenticationFailedError,
            UnsupportedSaslMechanismError,
        )

        answers = SaslAuthenticationFailedError, UnsupportedSaslMechanismError, IllegalSaslStateError
        if isinstance(self.error, answers):
            return
        for argument in record.args if isinstance(record.args, tuple) else ():
            if isinstance(argument, Exception) and not isinstance(argument, KafkaTimeoutError | RequestTimedOutError):
                self.error = argument
        if not record.args and "KafkaConnectionError" in record.getMessage():  # the exception is part of the text
            self.error = KafkaConnectionError(record.getMessage())


def why_refused(kafka: KafkaSettings, error: Exception) -> StreamError | None:
    """Return the reason why a cluster that listens does not let this client in; None if no reason is found.

    Args:
        kafka: Settings of the client.
        error: The last error that the client met.
    """
    if isinstance(error, StreamError):  # of the token endpoint
        return error
    if kafka.stranger:  # no credentials were made for it, so nothing that the variables say is wrong
        return None
    address = next(filter(_listens, map(str.strip, kafka.bootstrap_servers.split(","))), "")
    if not address:
        return None
    return why_no_login(kafka, error) or _of(
        _why_no_tls(kafka, address) if kafka.security_protocol.endswith("SSL") else _why_tls(kafka, address),
        _why_hung_up(kafka, address, error),
    )


def why_no_login(kafka: KafkaSettings, error: Exception) -> BrokerError | None:
    """Return what a broker's answer to a login means; None if the error is no such answer."""
    from kafka import errors

    if isinstance(error, errors.SaslAuthenticationFailedError):
        return rejected_login(kafka, error)
    if isinstance(error, errors.UnsupportedSaslMechanismError):
        return BrokerError(
            f"the brokers {kafka.bootstrap_servers} do not offer {kafka.sasl_mechanism} ({error}); "
            "set KAFKA_SASL_MECHANISM to one that they offer"
        )
    if isinstance(error, errors.IllegalSaslStateError):
        return BrokerError(
            f"the brokers {kafka.bootstrap_servers} ask for no login; "
            f"set KAFKA_SECURITY_PROTOCOL to {_without_login(kafka)}, or use another port"
        )
    return None


def rejected_login(kafka: KafkaSettings, error: Exception) -> BrokerError:
    """Return the error for credentials that a broker does not accept. Brokers do not say which part is wrong."""
    token = kafka.sasl_mechanism == "OAUTHBEARER"
    return BrokerError(
        f"the brokers {kafka.bootstrap_servers} refuse the {'token' if token else 'credentials'} of user "
        f"{kafka.username!r} ({str(error) or type(error).__name__}); "
        + (
            "ask the broker's owner which token endpoint and scope it accepts, and check KAFKA_OAUTH_URL and "
            "KAFKA_OAUTH_SCOPE"
            if token
            else "there is no such user or the password is wrong: check KAFKA_USERNAME, KAFKA_PASSWORD, "
            "KAFKA_SASL_MECHANISM and KAFKA_SECURITY_PROTOCOL"
        )
    )


def _of(*reasons: str) -> BrokerError | None:
    return next((BrokerError(reason) for reason in reasons if reason), None)


def _why_no_tls(kafka: KafkaSettings, address: str) -> str:
    """Return why TLS with a broker fails, or an empty string."""
    try:
        _shake_hands(tls_context(kafka), address)
    except ssl.SSLCertVerificationError as error:
        return why_distrusted(error, address, kafka)
    except ssl.SSLError as error:
        if "ALERT" in (error.reason or ""):
            return _why_alert(kafka, address, error)
        return _no_tls(kafka, address)
    except (ConnectionError, TimeoutError):
        return _no_tls(kafka, address)
    except OSError:
        return ""
    return ""


def _no_tls(kafka: KafkaSettings, address: str) -> str:
    protocol = "SASL_PLAINTEXT" if kafka.security_protocol == "SASL_SSL" else "PLAINTEXT"
    return (
        f"{address} does not speak TLS, which KAFKA_SECURITY_PROTOCOL {kafka.security_protocol} asks for; "
        f"use the broker's TLS port in KAFKA_BOOTSTRAP_SERVERS, or set KAFKA_SECURITY_PROTOCOL to {protocol}"
    )


def _why_alert(kafka: KafkaSettings, address: str, error: ssl.SSLError) -> str:
    if not kafka.cert_file:
        return (
            f"{address} asks for a client certificate ({reason_of(error)}); "
            "set KAFKA_CERT_FILE and KAFKA_KEY_FILE, or use a port for logins with a password"
        )
    return (
        f"{address} does not accept the client certificate {kafka.cert_file!r} ({reason_of(error)}); "
        "it has expired, or the broker does not know its authority: ask the broker's owner for a new one"
    )


def _why_tls(kafka: KafkaSettings, address: str) -> str:
    """Return that a port speaks TLS, if it does, to a client that does not."""
    anyone = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anyone.check_hostname, anyone.verify_mode = False, ssl.CERT_NONE  # nothing is sent, only the protocol is looked at
    try:
        _shake_hands(anyone, address)
    except ssl.SSLError as error:
        if "ALERT" not in (error.reason or ""):
            return ""
    except OSError:
        return ""
    protocol = "SASL_SSL" if kafka.security_protocol.startswith("SASL") else "SSL or SASL_SSL"
    return (
        f"{address} speaks TLS, but KAFKA_SECURITY_PROTOCOL is {kafka.security_protocol}; "
        f"set it to {protocol}, and KAFKA_CA_FILE if the broker has a private authority"
    )


def _why_hung_up(kafka: KafkaSettings, address: str, error: Exception) -> str:
    """Return what it means that a broker closes a connection without an answer, or an empty string."""
    if not any(words in str(error) for words in HUNG_UP):
        return ""
    if kafka.security_protocol.startswith("SASL"):
        return str(rejected_login(kafka, error))
    return (
        f"{address} closes connections that do not log in; set KAFKA_SECURITY_PROTOCOL to "
        f"{'SASL_SSL' if kafka.security_protocol == 'SSL' else 'SASL_PLAINTEXT'}, and KAFKA_SASL_MECHANISM, "
        "KAFKA_USERNAME and KAFKA_PASSWORD"
    )


def _without_login(kafka: KafkaSettings) -> str:
    return kafka.security_protocol.removeprefix("SASL_")


def _shake_hands(context: ssl.SSLContext, address: str) -> None:
    host, port = _host_port(address)
    with (
        socket.create_connection((host, port), timeout=PROBE_S) as plain,
        context.wrap_socket(plain, server_hostname=host) as secured,
    ):
        secured.settimeout(ALERT_S)
        try:
            secured.recv(1)  # in TLS 1.3, a broker rejects a client certificate after the handshake
        except TimeoutError:
            return


def _listens(address: str) -> bool:
    try:
        socket.create_connection(_host_port(address), timeout=1.0).close()
    except (OSError, ValueError):
        return False
    return True


def _host_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)
