"""TLS to a broker: what this side trusts and shows, and what is wrong where the two sides do not agree."""

from __future__ import annotations

import ssl
from pathlib import Path

from fedstream.errors import SettingsError
from fedstream.settings import KafkaSettings

EXPIRED, NOT_YET, HOST_NAME, IP_ADDRESS = 10, 9, 62, 64
"""Codes of OpenSSL for why a certificate is not accepted (X509_V_ERR_*)."""


def tls_context(kafka: KafkaSettings) -> ssl.SSLContext:
    """Return a TLS context with the authority and the client certificate of the settings.

    Raises:
        SettingsError: One of the files is missing or cannot be used. The message names its variable.
    """
    context = ssl.create_default_context()
    if kafka.ca_file:  # then no public authority is trusted
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        load_authority(context, kafka.ca_file)
    if kafka.key_file and not kafka.cert_file:
        raise SettingsError("KAFKA_KEY_FILE is set, but KAFKA_CERT_FILE is not; set it to the certificate of that key")
    if kafka.cert_file:
        _check_files(KAFKA_CERT_FILE=kafka.cert_file, KAFKA_KEY_FILE=kafka.key_file)
        try:
            # An empty password keeps OpenSSL from asking for one on the terminal.
            context.load_cert_chain(kafka.cert_file, kafka.key_file or None, password="")
        except (ssl.SSLError, ValueError) as error:
            raise SettingsError(
                f"KAFKA_CERT_FILE {kafka.cert_file!r} and KAFKA_KEY_FILE {kafka.key_file!r} cannot be used "
                f"({reason_of(error)}); set them to a certificate and its own private key, in PEM format and without "
                "a password"
            ) from error
    return context


def load_authority(context: ssl.SSLContext, ca_file: str) -> None:
    """Trust the certificate authority in a PEM file; do nothing for an empty path.

    Raises:
        SettingsError: The file is missing or contains no certificate.
    """
    if not ca_file:
        return
    _check_files(KAFKA_CA_FILE=ca_file)
    try:
        context.load_verify_locations(ca_file)
    except ssl.SSLError as error:
        raise SettingsError(
            f"KAFKA_CA_FILE is {ca_file!r}, which contains no certificate ({reason_of(error)}); "
            "set it to the authority's certificate in PEM format"
        ) from error


def _check_files(**files: str) -> None:
    for name, path in files.items():
        if path and not Path(path).is_file():
            raise SettingsError(f"{name} is {path!r}, and there is no such file")
        try:
            if path:
                Path(path).open("rb").close()
        except OSError as error:
            raise SettingsError(f"{name} is {path!r}, which cannot be read ({error.strerror})") from error


def why_distrusted(error: ssl.SSLCertVerificationError, address: str, kafka: KafkaSettings) -> str:
    """Return why the certificate of a broker is not accepted, and what to do."""
    host = address.rpartition(":")[0]
    if error.verify_code in (EXPIRED, NOT_YET):
        what = "has expired" if error.verify_code == EXPIRED else "is not valid yet"
        return f"the certificate of {address} {what}; ask the broker's owner to renew it, or set this machine's clock"
    if error.verify_code in (HOST_NAME, IP_ADDRESS):
        return (
            f"the certificate of {address} is not for {host!r}; use an address that it names in "
            "KAFKA_BOOTSTRAP_SERVERS, or ask the broker's owner to add this one"
        )
    trusted = (
        f"the one in KAFKA_CA_FILE, {kafka.ca_file!r}" if kafka.ca_file else "a public one: KAFKA_CA_FILE is not set"
    )
    return (
        f"the certificate of {address} comes from another authority than {trusted} ({error.verify_message}); "
        "set KAFKA_CA_FILE to the certificate of the authority that the broker's owner names"
    )


def reason_of(error: Exception) -> str:
    """Return OpenSSL's reason in words, without the position in its source code."""
    reason = getattr(error, "reason", None)
    return reason.replace("_", " ").lower() if isinstance(reason, str) and reason else str(error)
