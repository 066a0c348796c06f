"""A broker that offers every kind of login, and a token endpoint that it trusts."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from support.http_server import FakeServer

from fedstream.local.secure_kafka import SecureKafkaServer
from fedstream.settings import KafkaSettings

OAUTH = "org.apache.kafka.common.security.oauthbearer"
PLAIN_LOGIN = "org.apache.kafka.common.security.plain.PlainLoginModule required"
AUDIENCE, KEY_ID = "kafka", "tests"
GUEST_PASSWORD = "guest-secret"


class TokenServer(FakeServer):
    """An OAuth server (RFC 6749, section 4.4) that signs tokens with a key of its own.

    Attributes:
        clients: client id -> secret.
        forms: the forms of all requests.
        lifetime_s: lifetime of its tokens in seconds.
    """

    def __init__(self) -> None:
        super().__init__()
        self.clients = {"hospital-o": "oauth:secret/of?o"}
        self.forms: list[dict[str, str]] = []
        self.lifetime_s = 600
        self._key = rsa.generate_private_key(65537, 2048)

    @property
    def authorization(self) -> str:
        return next((value for name, value in self.headers.items() if name.lower() == "authorization"), "")

    @property
    def jwks(self) -> str:
        """The public key, as the broker reads it."""
        numbers = self._key.public_key().public_numbers()
        key = {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": KEY_ID}
        return json.dumps({"keys": [key | {"n": _base64(_bytes(numbers.n)), "e": _base64(_bytes(numbers.e))}]})

    def answer(self, method: str, path: str, query: dict[str, str], body: bytes) -> Any:
        form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        self.forms.append(form)
        kind, _, encoded = self.authorization.partition(" ")
        client, _, secret = (unquoted(part) for part in base64.b64decode(encoded).decode().partition(":"))
        if kind != "Basic" or self.clients.get(client) != secret:
            return 401, {"error": "invalid_client"}
        if form.get("grant_type") != "client_credentials":
            return 400, {"error": "unsupported_grant_type"}
        return {"access_token": self.signed(client), "token_type": "Bearer", "expires_in": self.lifetime_s}

    def signed(self, user: str) -> str:
        """Return a token (RFC 7519) that names a user."""
        now = int(time.time())
        claims = {"sub": user, "aud": AUDIENCE, "iss": "tests", "iat": now, "exp": now + self.lifetime_s}
        parts = [_base64(json.dumps(part).encode()) for part in ({"alg": "RS256", "kid": KEY_ID}, claims)]
        signature = self._key.sign(".".join(parts).encode(), padding.PKCS1v15(), hashes.SHA256())
        return ".".join([*parts, _base64(signature)])


class SecuredKafka(SecureKafkaServer):
    """The secured embedded Kafka, whose port for passwords also offers PLAIN and OAUTHBEARER.

    PLAIN knows guest, who may do nothing, and OAUTHBEARER whoever the token server vouches for.
    """

    tokens: TokenServer

    def guest(self) -> KafkaSettings:
        ca_file = str(self.authority.certificate_file)
        return KafkaSettings(self.address, "SASL_SSL", "PLAIN", "guest", GUEST_PASSWORD, ca_file=ca_file)

    @property
    def admin(self) -> KafkaSettings:
        return self._admin

    def with_token(self, client: str) -> KafkaSettings:
        return KafkaSettings(
            self.address,
            "SASL_SSL",
            "OAUTHBEARER",
            client,
            self.tokens.clients[client],
            ca_file=str(self.authority.certificate_file),
            oauth_url=f"{self.tokens.url}/token",
            oauth_scope="kafka",
        )

    @property
    def _jwks(self) -> Path:
        return self.folder / "jwks.json"

    def prepare(self) -> list[str]:
        self._jwks.write_text(self.tokens.jwks)
        return super().prepare()

    def _java_options(self) -> list[str]:
        return [f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={self._jwks.as_uri()}"]

    def _properties(self) -> dict[str, object]:
        login = "listener.name.sasl_ssl"
        return super()._properties() | {
            "sasl.enabled.mechanisms": "SCRAM-SHA-512,PLAIN,OAUTHBEARER",
            f"{login}.plain.sasl.jaas.config": f'{PLAIN_LOGIN} user_guest="{GUEST_PASSWORD}";',
            f"{login}.oauthbearer.sasl.jaas.config": f"{OAUTH}.OAuthBearerLoginModule required;",
            f"{login}.oauthbearer.sasl.server.callback.handler.class": f"{OAUTH}.OAuthBearerValidatorCallbackHandler",
            f"{login}.oauthbearer.sasl.oauthbearer.jwks.endpoint.url": self._jwks.as_uri(),
            f"{login}.oauthbearer.sasl.oauthbearer.expected.audience": AUDIENCE,
            # After a crash the controller lets the broker back in only when it has given up the dead one.
            "broker.session.timeout.ms": 2000,
            "broker.heartbeat.interval.ms": 500,
            "log.cleaner.backoff.ms": 200,
        }


def unquoted(text: str) -> str:
    return parse_qs(f"x={text}")["x"][0] if text else ""


def _bytes(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
