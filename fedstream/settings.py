"""Typed settings for Kafka, the object store, the model registry and schema registries, read from the environment.

This module knows nothing of runs.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from fedstream.credentials import brokers, read_credentials, why_no_oauth_url
from fedstream.errors import SettingsError

START_HINT = (
    "or start the embedded platform with `fedstream services up` "
    'and load its variables with `eval "$(fedstream services env)"`'
)


MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER")
"""How a client can log in with SASL."""

KAFKA_CLIENTS = ("kafka-python", "confluent")
"""Libraries that can read records, the default first."""


def kafka_client(env: Mapping[str, str] | None = None) -> str:
    """Return which library reads records: FEDSTREAM_KAFKA_CLIENT.

    Raises:
        SettingsError: The variable is not one of KAFKA_CLIENTS.
    """
    value = (os.environ if env is None else env).get("FEDSTREAM_KAFKA_CLIENT") or KAFKA_CLIENTS[0]
    if value not in KAFKA_CLIENTS:
        raise SettingsError(f"FEDSTREAM_KAFKA_CLIENT is {value!r}; set it to {' or '.join(KAFKA_CLIENTS)}")
    return value


@dataclass(frozen=True)
class KafkaSettings:
    """How to reach one Kafka cluster.

    Attributes:
        bootstrap_servers: `host:port[,host:port...]`.
        security_protocol: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL.
        sasl_mechanism: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER; empty without SASL.
        username: SASL user name; with OAUTHBEARER, the client id.
        password: SASL password; with OAUTHBEARER, the client secret; never shown.
        ca_file: PEM file with the certificate of the certificate authority.
        cert_file: PEM file with the client certificate.
        key_file: PEM file with the client's private key.
        credentials_file: JSON file that maps the addresses of other clusters to their credentials.
        oauth_url: With OAUTHBEARER, address of the token endpoint.
        oauth_scope: With OAUTHBEARER, scope to ask for; empty for the server's default.
        stranger: Whether this is a cluster other than the one in the environment, without credentials on file.
    """

    bootstrap_servers: str
    security_protocol: str = "PLAINTEXT"
    sasl_mechanism: str = ""
    username: str = ""
    password: str = ""
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    credentials_file: str = ""
    oauth_url: str = ""
    oauth_scope: str = ""
    stranger: bool = False

    def __repr__(self) -> str:
        return f"KafkaSettings({self.bootstrap_servers!r}, {self.security_protocol}, user={self.username!r})"

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> KafkaSettings:
        """Read the KAFKA_* variables.

        Raises:
            SettingsError: KAFKA_BOOTSTRAP_SERVERS is missing, or Kafka does not support a value.
        """
        env = os.environ if env is None else env
        servers = _required(env, "KAFKA_BOOTSTRAP_SERVERS", "host:port of a Kafka broker")
        protocol = env.get("KAFKA_SECURITY_PROTOCOL") or "PLAINTEXT"
        if protocol not in ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"):
            raise SettingsError(
                f"KAFKA_SECURITY_PROTOCOL is {protocol!r}; set it to PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL"
            )
        settings = cls(
            bootstrap_servers=servers,
            security_protocol=protocol,
            sasl_mechanism=env.get("KAFKA_SASL_MECHANISM", ""),
            username=env.get("KAFKA_USERNAME", ""),
            password=env.get("KAFKA_PASSWORD", ""),
            ca_file=env.get("KAFKA_CA_FILE", ""),
            cert_file=env.get("KAFKA_CERT_FILE", ""),
            key_file=env.get("KAFKA_KEY_FILE", ""),
            credentials_file=env.get("KAFKA_CREDENTIALS_FILE", ""),
            oauth_url=env.get("KAFKA_OAUTH_URL", ""),
            oauth_scope=env.get("KAFKA_OAUTH_SCOPE", ""),
        )
        settings._check_login()
        return settings

    def _check_login(self) -> None:
        if not self.security_protocol.startswith("SASL"):
            return
        if not (self.sasl_mechanism and self.username and self.password):
            raise SettingsError(
                f"KAFKA_SECURITY_PROTOCOL is {self.security_protocol}; also set KAFKA_SASL_MECHANISM, "
                "KAFKA_USERNAME and KAFKA_PASSWORD"
            )
        if self.sasl_mechanism not in MECHANISMS:
            raise SettingsError(f"KAFKA_SASL_MECHANISM is {self.sasl_mechanism!r}; set it to {' or '.join(MECHANISMS)}")
        if self.sasl_mechanism == "OAUTHBEARER" and (problem := why_no_oauth_url(self.oauth_url)):
            raise SettingsError(f"KAFKA_OAUTH_URL {problem}")

    def at(self, bootstrap_servers: str) -> KafkaSettings:
        """Return the settings for the cluster at an address that another party supplied.

        An empty address stands for this cluster. Credentials are presented only to the cluster that they were made for.
        Any other cluster gets the credentials on file for exactly its addresses, or none.

        Raises:
            SettingsError: The file with the credentials of other clusters cannot be used.
        """
        if not bootstrap_servers or brokers(bootstrap_servers) == brokers(self.bootstrap_servers):
            return self
        if on_file := read_credentials(self.credentials_file).get(brokers(bootstrap_servers)):
            return replace(self, bootstrap_servers=bootstrap_servers, **on_file)
        nobody = KafkaSettings(bootstrap_servers, credentials_file=self.credentials_file, stranger=True)
        return (
            replace(nobody, security_protocol="SSL", ca_file=self.ca_file)
            if self.security_protocol.endswith("SSL")
            else nobody
        )

    def client_args(self) -> dict[str, Any]:
        """Return the keyword arguments for kafka-python's producers, consumers and admin clients.

        With OAUTHBEARER, fedstream.stream.client adds what gets the tokens.
        """
        args: dict[str, Any] = {
            "bootstrap_servers": self.bootstrap_servers.split(","),
            "security_protocol": self.security_protocol,
        }
        if self.security_protocol.startswith("SASL"):
            args |= {
                "sasl_mechanism": self.sasl_mechanism,
                "sasl_plain_username": self.username,
                "sasl_plain_password": self.password,
            }
        files = {"ssl_cafile": self.ca_file, "ssl_certfile": self.cert_file, "ssl_keyfile": self.key_file}
        return args | {name: path for name, path in files.items() if path}


@dataclass(frozen=True)
class StoreSettings:
    """How to reach the S3 bucket.

    Attributes:
        endpoint_url: `http://host:port` or `https://host:port`.
        access_key: S3 access key.
        secret_key: S3 secret key; never shown.
        bucket: Name of the bucket.
        prefix: Prefix of every key; empty, or ends with a slash.
        region: Name of the S3 region.
    """

    endpoint_url: str
    access_key: str
    secret_key: str
    bucket: str = "fedstream"
    prefix: str = ""
    region: str = "us-east-1"

    def __repr__(self) -> str:
        return f"StoreSettings({self.endpoint_url!r}, {self.bucket!r}, {self.prefix!r})"

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> StoreSettings:
        """Read the S3_* and AWS_* variables.

        Raises:
            SettingsError: A variable is missing, or S3_ENDPOINT_URL is not an HTTP(S) address.
        """
        env = os.environ if env is None else env
        endpoint = _required(env, "S3_ENDPOINT_URL", "the address of an S3 server, such as http://127.0.0.1:9000")
        prefix = env.get("S3_PREFIX", "").strip("/")
        return cls(
            endpoint_url=_http_address("S3_ENDPOINT_URL", endpoint),
            access_key=_required(env, "AWS_ACCESS_KEY_ID", "the S3 access key"),
            secret_key=_required(env, "AWS_SECRET_ACCESS_KEY", "the S3 secret key"),
            bucket=env.get("S3_BUCKET") or "fedstream",
            prefix=f"{prefix}/" if prefix else "",
            region=env.get("S3_REGION") or "us-east-1",
        )


@dataclass(frozen=True)
class RegistrySettings:
    """How to reach Kubeflow Model Registry.

    Attributes:
        url: `http://host:port` or `https://host:port`.
        token_file: File with a bearer token, such as that of the pod's service account; empty for none.
        ca_file: PEM file with the certificate of the certificate authority; empty for the public ones.
    """

    url: str
    token_file: str = ""
    ca_file: str = ""

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> RegistrySettings | None:
        """Read the MODEL_REGISTRY_* variables; return None if MODEL_REGISTRY_URL is not set.

        Raises:
            SettingsError: MODEL_REGISTRY_URL is not an HTTP(S) address, or a file cannot be read.
        """
        env = os.environ if env is None else env
        url = env.get("MODEL_REGISTRY_URL", "").strip()
        if not url:
            return None
        settings = cls(
            url=_http_address("MODEL_REGISTRY_URL", url),
            token_file=env.get("MODEL_REGISTRY_TOKEN_FILE", ""),
            ca_file=env.get("MODEL_REGISTRY_CA_FILE", ""),
        )
        for name, path in (
            ("MODEL_REGISTRY_TOKEN_FILE", settings.token_file),
            ("MODEL_REGISTRY_CA_FILE", settings.ca_file),
        ):
            if path and not os.access(path, os.R_OK):
                raise SettingsError(
                    f"{name} is {path!r}, which does not exist or cannot be read; set it to a readable file"
                )
        return settings


def schema_registries(env: Mapping[str, str] | None = None) -> set[str]:
    """Return the addresses of the schema registries that can be asked: SCHEMA_REGISTRY_URL, separated by commas.

    Raises:
        SettingsError: One of them is not an HTTP(S) address.
    """
    text = (os.environ if env is None else env).get("SCHEMA_REGISTRY_URL", "")
    addresses = [address.strip() for address in text.split(",")]
    return {_http_address("SCHEMA_REGISTRY_URL", address, path=True) for address in addresses if address}


def _http_address(name: str, value: str, path: bool = False) -> str:
    try:
        parts = urlsplit(value)
    except ValueError as error:
        raise SettingsError(f"{name} is {value!r}: {error}; set it to http://host:port or https://host:port") from error
    if "@" in parts.netloc:
        raise SettingsError(
            f"{name} contains a user name or a password, which would appear in logs; set it to the address alone"
        )
    if parts.scheme not in ("http", "https") or not parts.netloc or (parts.path not in ("", "/") and not path):
        raise SettingsError(f"{name} is {value!r}; set it to http://host:port or https://host:port")
    return value.rstrip("/")


def _required(env: Mapping[str, str], name: str, meaning: str) -> str:
    value = env.get(name, "").strip()
    if not value:
        raise SettingsError(f"environment variable {name} is not set; set it to {meaning}, {START_HINT}")
    return value
