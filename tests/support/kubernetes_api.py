"""A few verbs on the cluster of the current kubectl context, each with a deadline."""

import json
import subprocess
import time
from collections.abc import Callable
from typing import Any


def kubectl(*arguments: str, stdin: str | None = None, seconds: int = 120, check: bool = True) -> str:
    """Run kubectl, and return its output; what it says when it fails becomes the error."""
    done = subprocess.run(
        ["kubectl", *arguments], input=stdin, capture_output=True, text=True, timeout=seconds, check=False
    )
    assert done.returncode == 0 or not check, f"kubectl {' '.join(arguments)}: {done.stderr}"
    return done.stdout


def get(*arguments: str) -> Any:
    """Return what `kubectl get` shows, as parsed JSON; None if it does not exist."""
    text = kubectl("get", "--ignore-not-found", "-o", "json", *arguments)
    return json.loads(text) if text else None


def items(*arguments: str) -> list[Any]:
    """Return all objects that `kubectl get` lists."""
    return list((get(*arguments) or {"items": []})["items"])


def until(what: str, condition: Callable[[], Any], seconds: float = 120) -> Any:
    """Poll a condition until it holds, and return what it said."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"still not after {seconds} s: {what}"
        time.sleep(0.15)
    return answer
