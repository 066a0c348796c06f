"""Access tokens for brokers that use OAUTHBEARER: OAuth's client credentials flow (RFC 6749, section 4.4)."""

from __future__ import annotations

import json
import re
import ssl
import threading
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any
from urllib.parse import quote_plus, urlencode

import urllib3
from kafka.net.sasl.oauth import AbstractTokenProvider

from fedstream.errors import BrokerAway, BrokerError
from fedstream.settings import KafkaSettings
from fedstream.stream.tls import load_authority

TIMEOUT_S = 10.0
"""Time limit for a request to the token endpoint, in seconds."""

ANSWER_BYTES = 64 * 1024
"""Maximum size of an answer of the token endpoint, in bytes."""

UNKNOWN_S, LONGEST_S = 60, 86_400
"""Lifetime of a token whose lifetime is not stated, and the longest one that is believed, in seconds."""

USED = 0.8
"""Fraction of its lifetime for which a token is used, so that it does not expire on its way."""

_TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]{1,16384}=*")  # RFC 6750, section 2.1
_CODE = re.compile(r"[a-z_]{1,60}")  # RFC 6749, section 5.2


class ClientCredentials(AbstractTokenProvider):  # type: ignore[misc]
    """Get a token for a client id and secret, and use it until it is about to expire. Threads can share it.

    Args:
        kafka: Settings with `oauth_url`, `oauth_scope`, and the client id and secret as user name and password.
        clock: Seconds that never decrease.
    """

    def __init__(self, kafka: KafkaSettings, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._kafka, self._clock = kafka, clock
        self._lock, self._token, self._until = threading.Lock(), "", 0.0

    def token(self) -> str:
        """Return a token that is valid now.

        Raises:
            BrokerAway: The token endpoint does not answer at the moment.
            BrokerError: It refuses the client, or its answer contains no usable token. The message quotes no secret.
        """
        with self._lock:
            if self._clock() >= self._until:
                asked = self._clock()
                self._token, lifetime_s = self._parsed(*self._ask())
                self._until = asked + USED * lifetime_s
            return self._token

    def _ask(self) -> tuple[int, bytes]:
        """Return the status and the body of the token endpoint's answer."""
        kafka, trust = self._kafka, ssl.create_default_context()
        load_authority(trust, kafka.ca_file)
        asked = {"grant_type": "client_credentials"} | ({"scope": kafka.oauth_scope} if kafka.oauth_scope else {})
        client = f"{quote_plus(kafka.username)}:{quote_plus(kafka.password)}"
        headers = urllib3.make_headers(basic_auth=client) | {"Content-Type": "application/x-www-form-urlencoded"}
        end = self._clock() + TIMEOUT_S
        try:
            with (
                urllib3.PoolManager(ssl_context=trust, timeout=TIMEOUT_S, retries=False) as http,
                http.request(
                    "POST",
                    kafka.oauth_url,
                    body=urlencode(asked),
                    headers=headers,
                    redirect=False,
                    preload_content=False,
                ) as answer,
            ):
                body = b""
                while (part := answer.read1(ANSWER_BYTES)) and len(body) <= ANSWER_BYTES:
                    body += part
                    if self._clock() > end:
                        raise BrokerAway(self._said(f"sends its answer for longer than {TIMEOUT_S:.0f} s; try again"))
                return answer.status, body
        except urllib3.exceptions.HTTPError as error:
            advice = "check KAFKA_OAUTH_URL and, if it has a private authority, KAFKA_CA_FILE"
            raise BrokerAway(self._said(f"does not answer ({_reason(error)}); {advice}")) from error

    def _parsed(self, status: int, body: bytes) -> tuple[str, float]:
        """Return the token in an answer, and its lifetime in seconds."""
        try:
            answer = json.loads(body) if len(body) <= ANSWER_BYTES else None
        except ValueError:
            answer = None
        said: dict[str, Any] = answer if isinstance(answer, dict) else {}
        if status in (400, 401, 403):
            code = said.get("error")
            code = code if isinstance(code, str) and _CODE.fullmatch(code) else f"status {status}"
            raise BrokerError(
                self._said(
                    f"refuses client {self._kafka.username!r} ({code}); check KAFKA_USERNAME and KAFKA_PASSWORD, "
                    "which are the client id and secret, and KAFKA_OAUTH_SCOPE"
                )
            )
        if status != 200:
            kind = BrokerAway if status >= 500 or status == 429 else BrokerError
            raise kind(self._said(f"answers with status {status}; check KAFKA_OAUTH_URL"))
        token, kind_of_token = said.get("access_token"), said.get("token_type", "Bearer")
        if not (isinstance(token, str) and _TOKEN.fullmatch(token) and str(kind_of_token).lower() == "bearer"):
            raise BrokerError(self._said("answers without a bearer token; check KAFKA_OAUTH_URL"))
        lifetime = said.get("expires_in", UNKNOWN_S)
        known = isinstance(lifetime, int | float) and lifetime > 0
        return token, min(float(lifetime), LONGEST_S) if known else UNKNOWN_S

    def _said(self, what: str) -> str:
        return f"the token endpoint {self._kafka.oauth_url} {what}"


@lru_cache(maxsize=64)
def token_provider(kafka: KafkaSettings) -> ClientCredentials:
    """Return the token provider of a cluster, the same for all clients in this process."""
    return ClientCredentials(kafka)


def _reason(error: Exception) -> str:
    """Return the cause of a failed request, without the addresses of objects that urllib3 adds."""
    while isinstance(cause := getattr(error, "reason", None) or error.__cause__, Exception):
        error = cause
    return re.sub(r"<[^>]*>:?\s*", "", str(error)) or type(error).__name__
