"""The file with the credentials of each Kafka cluster.

It ensures that credentials are never presented to an address that they were not made for.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from fedstream.errors import SettingsError

MAX_BYTES = 1024 * 1024
"""Maximum size of the file; a Kubernetes Secret cannot hold more."""

Text = Annotated[str, StringConstraints(max_length=1024)]


class BrokerCredentials(BaseModel):
    """How to reach one cluster.

    File paths are absolute, or relative to the folder of the credentials file.

    Attributes:
        security_protocol: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL.
        sasl_mechanism: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER; empty without SASL.
        username: SASL user name; with OAUTHBEARER, the client id.
        password: SASL password; with OAUTHBEARER, the client secret; never shown.
        ca_file: PEM file with the certificate of the certificate authority.
        cert_file: PEM file with the client certificate.
        key_file: PEM file with the client's private key.
        oauth_url: with OAUTHBEARER, address of the token endpoint.
        oauth_scope: with OAUTHBEARER, scope to ask for; empty for the server's default.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
    sasl_mechanism: Literal["", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] = ""
    username: Text = ""
    password: SecretStr = Field(SecretStr(""), max_length=4096)
    ca_file: Text = ""
    cert_file: Text = ""
    key_file: Text = ""
    oauth_url: Text = ""
    oauth_scope: Text = ""

    @model_validator(mode="after")
    def _sasl_is_whole(self) -> BrokerCredentials:
        sasl = bool(self.sasl_mechanism and self.username and self.password.get_secret_value())
        if sasl != self.security_protocol.startswith("SASL"):
            raise ValueError(
                "SASL_PLAINTEXT and SASL_SSL require sasl_mechanism, username and password; "
                "other protocols accept none of them"
            )
        if self.sasl_mechanism == "OAUTHBEARER" and (problem := why_no_oauth_url(self.oauth_url)):
            raise ValueError(f"oauth_url {problem}")
        return self


_FILE = TypeAdapter(
    Annotated[
        dict[Annotated[str, StringConstraints(min_length=1, max_length=4096)], BrokerCredentials],
        Field(max_length=1000),
    ]
)


def why_no_oauth_url(url: str) -> str:
    """Return why a client secret cannot be sent to this address, or an empty string."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        return f"is not an address: {error}"
    if "@" in parts.netloc:
        return "contains a user name or a password, which would appear in logs; set it to the address alone"
    here = parts.hostname in ("localhost", "127.0.0.1", "::1")
    if not parts.hostname or parts.scheme not in (("http", "https") if here else ("https",)):
        return f"is {url!r}; set it to https:// and the address of the token endpoint, which is sent a secret"
    return ""


def brokers(bootstrap_servers: str) -> frozenset[str]:
    """Return the addresses in `host:port[,host:port...]`, regardless of order and case; the default port is 9092."""
    addresses = (address.strip().lower() for address in bootstrap_servers.split(","))
    return frozenset(
        address if address.rpartition("]")[2].count(":") else f"{address}:9092" for address in addresses if address
    )


def read_credentials(file: str) -> Mapping[frozenset[str], dict[str, Any]]:
    """Return the credentials in a file as fields of KafkaSettings, by the addresses of each cluster.

    Args:
        file: Path of a JSON file such as `{"kafka.a.org:9093": {"security_protocol": "SASL_SSL", "sasl_mechanism":
            "SCRAM-SHA-512", ...}}`; empty for no file, which yields no credentials.

    Raises:
        SettingsError: The file cannot be read, or its content is invalid. The message never contains its values.
    """
    if not file:
        return {}
    found: dict[frozenset[str], dict[str, Any]] = {}
    for address, entry in _read(Path(file)).items():
        if brokers(address) in found:
            raise SettingsError(f"KAFKA_CREDENTIALS_FILE {file} contains {address!r} more than once; keep one entry")
        found[brokers(address)] = _fields(entry, Path(file).parent)
    return found


def _read(file: Path) -> dict[str, BrokerCredentials]:
    try:
        with file.open("rb") as opened:
            data = opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise SettingsError(
            f"KAFKA_CREDENTIALS_FILE is {str(file)!r}, which cannot be read ({error.strerror}); "
            "set it to a readable file, or unset it"
        ) from error
    if len(data) > MAX_BYTES:
        raise SettingsError(
            f"KAFKA_CREDENTIALS_FILE {file} is larger than {MAX_BYTES} bytes, the most that is accepted; "
            "remove entries from it"
        )
    try:
        return _FILE.validate_json(data)
    except ValidationError as error:
        said = "; ".join(
            f"{'.'.join(map(str, problem['loc'])) or 'the file'}: {problem['msg']}"
            for problem in error.errors(include_input=False)[:3]
        )
    # Not chained to pydantic's error, which contains the input and thus the passwords.
    raise SettingsError(
        f"KAFKA_CREDENTIALS_FILE {file} does not map addresses to credentials: {said}; correct these entries"
    )


def _fields(entry: BrokerCredentials, folder: Path) -> dict[str, Any]:
    fields = entry.model_dump() | {"password": entry.password.get_secret_value()}
    return fields | {name: str(folder / fields[name]) for name in ("ca_file", "cert_file", "key_file") if fields[name]}
