"""The file with the credentials of each Kafka cluster, so that none is presented to an address that it wasn't made for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints, TypeAdapter, ValidationError, model_validator

from fedstream.errors import SettingsError

MAX_BYTES = 1024 * 1024
"""Of the file: no Kubernetes secret holds more."""

Text = Annotated[str, StringConstraints(max_length=1024)]


class BrokerCredentials(BaseModel):
    """How to reach one cluster. Paths of files are absolute, or relative to the folder of the file that names them.

    Attributes:
        security_protocol: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL.
        sasl_mechanism: of SASL.
        username: SASL user.
        password: SASL password; never shown.
        ca_file: PEM file of the certificate authority.
        cert_file: PEM file of the client certificate.
        key_file: PEM file of the client key.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
    sasl_mechanism: Literal["", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = ""
    username: Text = ""
    password: SecretStr = Field(SecretStr(""), max_length=4096)
    ca_file: Text = ""
    cert_file: Text = ""
    key_file: Text = ""

    @model_validator(mode="after")
    def _sasl_is_whole(self) -> BrokerCredentials:
        sasl = bool(self.sasl_mechanism and self.username and self.password.get_secret_value())
        if sasl != self.security_protocol.startswith("SASL"):
            raise ValueError("sasl_mechanism, username and password belong to SASL_PLAINTEXT and SASL_SSL, which need all three")
        return self


_FILE = TypeAdapter(Annotated[dict[Annotated[str, StringConstraints(min_length=1, max_length=4096)], BrokerCredentials], Field(max_length=1000)])


def brokers(bootstrap_servers: str) -> frozenset[str]:
    """Return the addresses of `host:port[,host:port...]`, whose order and case don't matter; Kafka's own port where none is said."""
    addresses = (address.strip().lower() for address in bootstrap_servers.split(","))
    return frozenset(address if address.rpartition("]")[2].count(":") else f"{address}:9092" for address in addresses if address)


def read_credentials(file: str) -> Mapping[frozenset[str], dict[str, Any]]:
    """Return the credentials in a file by the addresses of their cluster, as fields of KafkaSettings; none without a file.

    Args:
        file: JSON such as `{"kafka.a.org:9093": {"security_protocol": "SASL_SSL", "sasl_mechanism": "SCRAM-SHA-512", ...}}`; empty for none.

    Raises:
        SettingsError: the file is missing, or says what cannot be. Values are never shown.
    """
    if not file:
        return {}
    found: dict[frozenset[str], dict[str, Any]] = {}
    for address, entry in _read(Path(file)).items():
        if brokers(address) in found:
            raise SettingsError(f"KAFKA_CREDENTIALS_FILE {file}: {address!r} is there twice; keep one of them")
        found[brokers(address)] = _fields(entry, Path(file).parent)
    return found


def _read(file: Path) -> dict[str, BrokerCredentials]:
    try:
        with file.open("rb") as opened:
            data = opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise SettingsError(f"KAFKA_CREDENTIALS_FILE is {str(file)!r}, which cannot be read ({error.strerror}); name a file, or unset it") from error
    if len(data) > MAX_BYTES:
        raise SettingsError(f"KAFKA_CREDENTIALS_FILE {file} has more than {MAX_BYTES} bytes, which cannot be a list of credentials")
    try:
        return _FILE.validate_json(data)
    except ValidationError as error:
        said = "; ".join(f"{'.'.join(map(str, problem['loc'])) or 'the file'}: {problem['msg']}" for problem in error.errors(include_input=False)[:3])
    # Not raised from pydantic's error, which holds what it was given.
    raise SettingsError(f"KAFKA_CREDENTIALS_FILE {file} is no list of credentials by address: {said}")


def _fields(entry: BrokerCredentials, folder: Path) -> dict[str, Any]:
    fields = entry.model_dump() | {"password": entry.password.get_secret_value()}
    return fields | {name: str(folder / fields[name]) for name in ("ca_file", "cert_file", "key_file") if fields[name]}
