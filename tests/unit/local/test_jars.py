"""Finding Java and fetching Kafka, with a small script in the place of Maven."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fedstream.errors import PlatformError
from fedstream.local import jars


def write_program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.fixture
def bin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that is the whole PATH but for the shell's own programs; Kafka is neither installed nor cached."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("KAFKA_HOME", "JAVA_HOME"):
        monkeypatch.delenv(name, raising=False)
    return folder


def fetch() -> str:
    return jars.kafka_classpath(lambda _: None)


def test_missing_java_is_one_line_that_says_what_to_install(bin_folder: Path) -> None:
    with pytest.raises(PlatformError, match=r"needs Java 17 or newer and there is no java on the PATH; install it") as caught:
        jars.find_java()
    assert "\n" not in str(caught.value)


def test_java_home_goes_before_the_path(bin_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_program(bin_folder / "java", "")
    assert jars.find_java() == str(bin_folder / "java")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "jdk"))
    with pytest.raises(PlatformError, match=r"JAVA_HOME is .*jdk, which has no bin/java"):
        jars.find_java()
    write_program(tmp_path / "jdk" / "bin" / "java", "")
    assert jars.find_java() == str(tmp_path / "jdk" / "bin" / "java")


def test_missing_maven_is_one_line_that_says_what_to_install(bin_folder: Path) -> None:
    with pytest.raises(PlatformError, match="no mvn on the PATH; install it") as caught:
        fetch()
    assert "\n" not in str(caught.value)


def test_jars_are_fetched_once(bin_folder: Path, tmp_path: Path) -> None:
    write_program(
        bin_folder / "mvn",
        f"echo fetched >> {tmp_path}/calls\n"
        'for word in "$@"; do case $word in -DoutputDirectory=*) folder=${word#*=};; esac; done\n'
        '/bin/mkdir -p "$folder" && : > "$folder/kafka_2.13-x.jar"',
    )
    said: list[str] = []
    expected = f"{tmp_path}/cache/fedstream/kafka-{jars.kafka_version()}/*"
    assert [jars.kafka_classpath(said.append) for _ in range(2)] == [expected, expected]
    assert (tmp_path / "calls").read_text() == "fetched\n"
    assert len(said) == 1
    assert "Fetching Apache Kafka" in said[0]


def test_a_failed_fetch_shows_what_maven_said_and_leaves_nothing(bin_folder: Path, tmp_path: Path) -> None:
    write_program(bin_folder / "mvn", "echo '[INFO] noise'; echo '[ERROR] Unknown host repo.example'; exit 1")
    with pytest.raises(PlatformError, match=r"could not fetch Apache Kafka:\n.*Unknown host repo.example") as caught:
        fetch()
    assert "noise" not in str(caught.value)
    assert not list((tmp_path / "cache" / "fedstream").glob("kafka-*/")), "nothing half fetched"


def test_a_fetch_without_kafka_in_it_is_not_kept(bin_folder: Path) -> None:
    write_program(bin_folder / "mvn", "exit 0")
    for _ in range(2):
        with pytest.raises(PlatformError, match="could not fetch"):
            fetch()


def test_a_fetch_has_a_deadline(bin_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jars, "FETCH_S", 0.2)
    write_program(bin_folder / "mvn", "exec /bin/sleep 30")
    with pytest.raises(PlatformError, match="has not fetched Apache Kafka within"):
        fetch()


def test_kafka_home_is_used_when_set(bin_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_HOME", str(tmp_path / "kafka"))
    with pytest.raises(PlatformError, match=r"KAFKA_HOME is .*holds no kafka_2"):
        fetch()
    (tmp_path / "kafka" / "libs").mkdir(parents=True)
    (tmp_path / "kafka" / "libs" / "kafka_2.13-4.3.1.jar").touch()
    assert fetch() == os.path.join(tmp_path, "kafka", "libs", "*")
