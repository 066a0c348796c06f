"""Fetching Kafka's jars, from a small repository in this process."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from support.http_server import FakeServer, Refused

from fedstream.errors import PlatformError
from fedstream.local import jars, maven

TEXTS = {
    f"org/apache/kafka/{name}/4.3.1/{name}-4.3.1.jar": f"jar of {name}"
    for name in ("kafka_2.13", "kafka-clients", "kafka-server")
}


class Repository(FakeServer):
    """A Maven repository that holds `files`, and takes who asks at their word."""

    def __init__(self) -> None:
        super().__init__()
        self.files = dict(TEXTS)

    def answer(self, method: str, path: str, query: dict[str, str], body: bytes) -> str:
        if (name := path.removeprefix("/maven2/")) in self.files:
            return self.files[name]
        raise Refused(404, "there is no such file")


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    """Run a repository of three locked jars; the cache is empty, and no KAFKA_HOME is set."""
    lock = tmp_path / "jars.sha256"
    lock.write_text("".join(f"{hashlib.sha256(text.encode()).hexdigest()}  {path}\n" for path, text in TEXTS.items()))
    monkeypatch.setattr(jars, "LOCK", lock)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("KAFKA_HOME", raising=False)
    with Repository().running() as server:
        monkeypatch.setenv("MAVEN_REPOSITORY_URL", f"{server.url}/maven2")
        yield server


def fetch() -> list[Path]:
    return [Path(part) for part in jars.kafka_classpath(lambda _: None).split(os.pathsep)]


def test_what_is_locked_is_what_the_pom_asks_for() -> None:
    pom = ElementTree.parse(jars.FILES / "pom.xml").getroot()
    properties = {element.tag.rpartition("}")[2]: element.text for element in pom.find("{*}properties")}
    assert jars.kafka_version() == properties["kafka.version"]
    locked = jars.locked_jars()
    assert all(re.fullmatch("[0-9a-f]{64}", jar.digest) for jar in locked)
    for dependency in pom.iterfind(".//{*}dependency"):
        group, name, version = (dependency.findtext(f"{{*}}{tag}") for tag in ("groupId", "artifactId", "version"))
        version = properties[version.strip("${}")]
        assert f"{group.replace('.', '/')}/{name}/{version}/{name}-{version}.jar" in {jar.path for jar in locked}
    assert len({jar.name for jar in locked}) == len(locked) > 40


def test_jars_are_fetched_once_and_nothing_else_is_on_the_class_path(repository: Repository, tmp_path: Path) -> None:
    said: list[str] = []
    for _ in range(2):
        path = jars.kafka_classpath(said.append)
    folder = tmp_path / "cache/fedstream/kafka-4.3.1"
    assert path.split(os.pathsep) == [str(folder / name.rpartition("/")[2]) for name in TEXTS]
    assert sorted(repository.asked) == sorted(f"GET /maven2/{name}" for name in TEXTS)
    assert len(said) == 1
    assert said[0].startswith("Downloading Apache Kafka 4.3.1 (3 jars) to ")


def test_a_jar_that_is_not_the_locked_one_is_refused_and_never_used(repository: Repository, tmp_path: Path) -> None:
    wrong = next(iter(TEXTS))
    repository.files[wrong] = "jar of somebody else"
    with pytest.raises(
        PlatformError, match=r"kafka_2.13-4.3.1.jar has SHA-256 .*, expected .*: the repository serves a different file"
    ):
        fetch()
    assert not list((tmp_path / "cache/fedstream").rglob("kafka_2.13*.jar"))
    repository.files = dict(TEXTS)
    assert all(path.is_file() for path in fetch())


@pytest.mark.parametrize("left", ["", "jar o", "jar of an attacker"])
def test_a_jar_that_was_cut_short_or_changed_is_fetched_again_alone(repository: Repository, left: str) -> None:
    first = fetch()[0]
    repository.asked.clear()
    first.write_text(left)
    assert fetch()[0].read_text() == "jar of kafka_2.13"
    assert len(repository.asked) == 1


def test_a_repository_without_the_jar_is_named_and_so_are_the_ways_out(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAVEN_REPOSITORY_URL", f"{repository.url}/nothing".replace("//", "//me:secret@"))
    with pytest.raises(PlatformError, match=r"cannot be downloaded: .*/nothing/org/apache/kafka.*404") as caught:
        fetch()
    assert all(name in str(caught.value) for name in ("MAVEN_REPOSITORY_URL", "KAFKA_HOME", "KAFKA_BOOTSTRAP_SERVERS"))
    assert "secret" not in str(caught.value)


def test_an_error_that_passes_is_tried_again(repository: Repository) -> None:
    repository.first += [(503, "busy"), (502, "busy")]
    assert all(path.is_file() for path in fetch())


def test_a_repository_that_does_not_answer_ends_the_fetch(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maven, "TRIES", 0)
    monkeypatch.setenv("MAVEN_REPOSITORY_URL", "http://127.0.0.1:9/maven2")
    with pytest.raises(PlatformError, match="cannot be downloaded"):
        fetch()


def test_a_fetch_has_a_deadline(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jars, "FETCH_S", 0.2)
    repository.first += [1.0, 1.0, 1.0]
    with pytest.raises(PlatformError, match=r"was not downloaded within 0 s; try again: downloaded jars are kept"):
        fetch()


def test_a_file_without_end_is_refused(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maven, "MOST_BYTES", 10)
    with pytest.raises(PlatformError, match="is larger than 10 bytes"):
        fetch()


def test_kafka_home_is_used_when_set(repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_HOME", str(tmp_path / "kafka"))
    with pytest.raises(PlatformError, match=r"KAFKA_HOME is .*contains no kafka_2"):
        fetch()
    (tmp_path / "kafka" / "libs").mkdir(parents=True)
    (tmp_path / "kafka" / "libs" / "kafka_2.13-4.3.1.jar").touch()
    assert fetch() == [tmp_path / "kafka" / "libs" / "*"]
    assert not repository.asked
