"""Where Maven's artifacts come from on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedstream.errors import PlatformError
from fedstream.local.maven import CENTRAL, repository, without_credentials

SETTINGS = """<?xml version="1.0"?>
<settings xmlns="http://maven.apache.org/SETTINGS/1.2.0">
  <mirrors>
    <mirror><id>other</id><mirrorOf>snapshots</mirrorOf><url>https://other.example/</url></mirror>
    <mirror><id>blocker</id><mirrorOf>external:http:*</mirrorOf><url>http://0.0.0.0/</url></mirror>
    <mirror><id>ours</id><mirrorOf>{of}</mirrorOf><url>https://mirror.example/maven2/</url></mirror>
  </mirrors>
</settings>
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("MAVEN_REPOSITORY_URL", raising=False)
    (tmp_path / ".m2").mkdir()
    return tmp_path


def test_maven_central_is_the_default(home: Path) -> None:
    assert repository() == CENTRAL
    (home / ".m2/settings.xml").write_text("<settings/>")
    assert repository() == CENTRAL


@pytest.mark.parametrize("of", ["*", "central", " central , other", "external:*", "*,!snapshots"])
def test_the_mirror_that_maven_uses_is_used(home: Path, of: str) -> None:
    (home / ".m2/settings.xml").write_text(SETTINGS.format(of=of))
    assert repository() == "https://mirror.example/maven2"


@pytest.mark.parametrize("of", ["*,!central", "others", "external:http:*"])
def test_a_mirror_of_something_else_is_not(home: Path, of: str) -> None:
    (home / ".m2/settings.xml").write_text(SETTINGS.format(of=of))
    assert repository() == CENTRAL


def test_the_environment_goes_before_the_settings(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / ".m2/settings.xml").write_text(SETTINGS.format(of="*"))
    monkeypatch.setenv("MAVEN_REPOSITORY_URL", "https://me:secret@other.example/m2/")
    assert repository() == "https://me:secret@other.example/m2"
    assert without_credentials(repository()) == "https://other.example/m2"


def test_settings_that_cannot_be_read_are_said(home: Path) -> None:
    (home / ".m2/settings.xml").write_text("<settings>")
    with pytest.raises(PlatformError, match=r"settings.xml cannot be read .*; correct it, or set MAVEN_REPOSITORY_URL"):
        repository()
