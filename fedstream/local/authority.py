"""A certificate authority of this machine, for the embedded broker: its certificates are trusted nowhere else."""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fedstream.local.process import write_private

DAY = dt.timedelta(days=1)
AUTHORITY_DAYS, LEAF_DAYS = 3650, 825


@dataclass(frozen=True)
class Authority:
    """A certificate authority whose key and certificate are in a folder.

    Args:
        folder: Folder with `ca.crt` and `ca.key`, which are created if they are missing.
    """

    folder: Path

    @property
    def certificate_file(self) -> Path:
        """PEM file that clients trust."""
        return self.folder / "ca.crt"

    def ensure(self) -> None:
        """Create the authority unless it exists. Its key never leaves the folder."""
        if self.certificate_file.exists():
            return
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name("fedstream on this machine")
        made = (
            _certificate(name, name, key.public_key(), AUTHORITY_DAYS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .sign(key, hashes.SHA256())
        )
        write_private(self.folder / "ca.key", _pem(key))
        write_private(self.certificate_file, _pem(made))

    def issue(self, name: str, hosts: Sequence[str] = (), days: float = LEAF_DAYS) -> Path:
        """Create a certificate, and return the PEM file with its key and itself.

        Args:
            name: Common name, which is the user's name to the broker. The file is `<name>.pem`.
            hosts: Names and IP addresses of a server; empty for a client.
            days: Days for which it is valid; negative for one that has expired.
        """
        self.ensure()
        signer = serialization.load_pem_private_key((self.folder / "ca.key").read_bytes(), password=None)
        issuer = x509.load_pem_x509_certificate(self.certificate_file.read_bytes())
        assert isinstance(signer, ec.EllipticCurvePrivateKey)
        key = ec.generate_private_key(ec.SECP256R1())
        purposes = [ExtendedKeyUsageOID.CLIENT_AUTH, *([ExtendedKeyUsageOID.SERVER_AUTH] if hosts else [])]
        made = (
            _certificate(issuer.subject, _name(name), key.public_key(), days)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        )
        if hosts:
            made = made.add_extension(x509.SubjectAlternativeName(list(map(_host, hosts))), critical=False)
        file = self.folder / f"{name}.pem"
        write_private(file, _pem(key) + _pem(made.sign(signer, hashes.SHA256())))
        return file


def _certificate(
    issuer: x509.Name, subject: x509.Name, key: ec.EllipticCurvePublicKey, days: float
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    end = now + days * DAY
    return (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .subject_name(subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(now, end) - DAY)  # clocks differ
        .not_valid_after(end)
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _usage(signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(what: ec.EllipticCurvePrivateKey | x509.Certificate) -> str:
    if isinstance(what, x509.Certificate):
        return what.public_bytes(serialization.Encoding.PEM).decode()
    return what.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
