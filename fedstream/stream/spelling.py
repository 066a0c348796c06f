"""Kafka-ML spells a name of its sinks wrong, and its users' scripts repeat that."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from fedstream.errors import UsageError


def either_spelling(init: Callable[..., None]) -> Callable[..., None]:
    """Let a sink be made with `bootstrap_servers` as well as with `boostrap_servers`, as Kafka-ML spells it."""

    @wraps(init)
    def made(self: object, *values: Any, **named: Any) -> None:
        for wrong, right in (("bootstrap_servers", "boostrap_servers"), ("boostrap_servers", "bootstrap_servers")):
            if wrong in named and wrong not in init.__annotations__:
                if values or right in named:
                    raise UsageError("the brokers are named twice; pass bootstrap_servers once")
                named[right] = named.pop(wrong)
        init(self, *values, **named)

    return made
