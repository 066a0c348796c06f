"""The embedded Apache Kafka with TLS, logins and access rights, to try what a broker of a hospital asks for."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

from fedstream.errors import FedstreamError, UsageError
from fedstream.local.authority import Authority
from fedstream.local.kafka import KafkaServer
from fedstream.local.process import write_private
from fedstream.local.service import NotReadyError
from fedstream.settings import KafkaSettings

RUN, ADMIN = "fedstream", "admin"
"""The users of runs and of the broker itself. The broker has a certificate instead of a password."""

USER = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
SCRAM_LOGIN = "org.apache.kafka.common.security.scram.ScramLoginModule required;"


class SecureKafkaServer(KafkaServer):
    """Apache Kafka on loopback ports that speak TLS.

    One port asks for a SCRAM-SHA-512 password, and the other for a client certificate. Topics are created on first use
    by whoever has the right, and never expire.

    Args:
        folder: Folder of the server.
        bound: Whether the server ends with this process.
        say: Called with a line for each event.
        owners: Data owners for whom users are added. Those of earlier starts are kept.

    Raises:
        UsageError: An owner cannot be the name of a user.
    """

    title: ClassVar[str] = "Apache Kafka (secured)"
    port_names: ClassVar[tuple[str, ...]] = ("broker", "certificates", "controller")

    def __init__(self, folder: Path, *, bound: bool, say: Callable[[str], None], owners: Sequence[str] = ()) -> None:
        super().__init__(folder, bound=bound, say=say)
        for owner in owners:
            if not USER.fullmatch(owner) or owner in (RUN, ADMIN):
                raise UsageError(
                    f"data owner {owner!r} cannot be the name of a user; use lowercase letters, digits and '-', "
                    f"but not {RUN!r} or {ADMIN!r}"
                )
        self.owners = owners

    @property
    def authority(self) -> Authority:
        """The authority that signed the certificates of the broker and of clients."""
        return Authority(self.folder / "tls")

    @property
    def settings(self) -> KafkaSettings:
        """How the run's user reaches the broker."""
        return self.user(RUN)

    def user(self, name: str) -> KafkaSettings:
        """Return how a user reaches the broker with its password.

        Raises:
            UsageError: There is no such user.
        """
        file = self._passwords / name
        if not USER.fullmatch(name) or not file.is_file():
            known = ", ".join(sorted(self._known()))
            raise UsageError(
                f"the embedded Kafka has no user {name!r}; its users are {known or 'not made yet'}: "
                f"add one with `fedstream services up --secure --owners {name}`"
            )
        ca_file = str(self.authority.certificate_file)
        return KafkaSettings(
            self.address, "SASL_SSL", "SCRAM-SHA-512", name, file.read_text(encoding="utf-8"), ca_file=ca_file
        )

    def certified(self, certificate: Path) -> KafkaSettings:
        """Return how the holder of a certificate, a PEM file with its key, reaches the broker."""
        return KafkaSettings(
            f"127.0.0.1:{self.ports['certificates']}",
            "SSL",
            ca_file=str(self.authority.certificate_file),
            cert_file=str(certificate),
        )

    def prepare(self) -> list[str]:
        self.authority.issue(ADMIN, ["127.0.0.1", "localhost"])
        self._passwords.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._ensure_passwords()
        try:
            return super().prepare()
        finally:
            self._users_file.unlink(missing_ok=True)

    def finish(self) -> None:
        super().finish()
        self._ensure_passwords()
        self._grant()

    def probe(self) -> None:
        try:
            super().probe()
        except FedstreamError as error:
            raise NotReadyError(str(error)) from error

    @property
    def _admin(self) -> KafkaSettings:
        return self.certified(self.authority.folder / f"{ADMIN}.pem")

    @property
    def _users_file(self) -> Path:
        return self.folder / "users.options"

    @property
    def _passwords(self) -> Path:
        return self.folder / "passwords"

    def _known(self) -> dict[str, str]:
        files = sorted(self._passwords.iterdir()) if self._passwords.is_dir() else []
        return {file.name: file.read_text(encoding="utf-8") for file in files if USER.fullmatch(file.name)}

    def _ensure_passwords(self) -> None:
        for name in (RUN, *self.owners):
            if not (self._passwords / name).exists():
                write_private(self._passwords / name, secrets.token_hex(24))

    def _grant(self) -> None:
        """Give every user the rights that it needs, and a password to those who were added to a formatted broker."""
        from fedstream.stream.access import acls, apply, rights_of_owner, rights_of_run
        from fedstream.stream.client import admin

        known = self._known()
        rights = {name: rights_of_run(name) if name == RUN else rights_of_owner(name) for name in known}
        with admin(self._admin) as broker:
            apply(broker, known, [acl for name in known for acl in acls(name, rights[name])])

    def _format_options(self) -> list[str]:
        """Return the name of a file with the users, because everyone on this machine can read a command line."""
        users = (f"SCRAM-SHA-512=[name={name},password={word}]" for name, word in self._known().items())
        write_private(self._users_file, "".join(f"--add-scram\n{user}\n" for user in users))
        return [f"@{self._users_file}"]

    def _properties(self) -> dict[str, object]:
        broker, certificates, controller = (f"127.0.0.1:{self.ports[name]}" for name in self.port_names)
        clients = f"SASL_SSL://{broker},SSL://{certificates}"
        return super()._properties() | {
            "listeners": f"{clients},CONTROLLER://{controller}",
            "advertised.listeners": clients,
            "listener.security.protocol.map": "SASL_SSL:SASL_SSL,SSL:SSL,CONTROLLER:SSL",
            "security.inter.broker.protocol": "SSL",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": self.authority.folder / f"{ADMIN}.pem",
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": self.authority.certificate_file,
            "listener.name.ssl.ssl.client.auth": "required",
            "listener.name.controller.ssl.client.auth": "required",
            "ssl.principal.mapping.rules": "RULE:^CN=([a-z0-9-]+)$/$1/,DEFAULT",
            "sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": SCRAM_LOGIN,
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": f"User:{ADMIN}",
        }
