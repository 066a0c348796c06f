"""The images' packages are those of the locks, and the locks are those of pyproject.toml and requirements.txt."""

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCKS = ROOT / "images/locks"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = {"slim": [], "train": ["train"], "gpu": ["train"]}


def requirements(text: str) -> dict[str, Requirement]:
    found = [Requirement(line.split(" \\")[0]) for line in text.splitlines() if re.match(r"[A-Za-z]", line)]
    return {canonicalize_name(requirement.name): requirement for requirement in found}


def locked(name: str) -> dict[str, Requirement]:
    return requirements((LOCKS / f"{name}.txt").read_text())


@pytest.mark.parametrize("name", [*EXTRAS, "tools"])
def test_every_package_has_one_version_and_the_hashes_of_its_files(name: str) -> None:
    entries = re.split(r"\n(?=\S)", (LOCKS / f"{name}.txt").read_text().strip())
    assert len(entries) == len(locked(name))
    for entry in entries:
        assert re.match(r"[\w.-]+(\[[\w,-]+\])?==[\w.!+]+( ;[^\\]*)? \\\n", entry), entry
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry


@pytest.mark.parametrize("name", EXTRAS)
def test_a_lock_is_current(name: str) -> None:
    """Run images/lock where this fails."""
    pins, there = requirements((ROOT / "requirements.txt").read_text()), locked(name)
    wanted = [
        Requirement(text)
        for text in [
            *PROJECT["dependencies"],
            *(text for extra in EXTRAS[name] for text in PROJECT["optional-dependencies"][extra]),
        ]
    ]
    for requirement in wanted:
        key = canonicalize_name(requirement.name)
        (version,) = there[key].specifier
        assert requirement.specifier.contains(version.version), key
        assert str(there[key].specifier) == str(pins[key].specifier), key
    assert {key for key in there.keys() & pins.keys() if str(there[key].specifier) != str(pins[key].specifier)} == set()
    assert ("nvidia-cudnn-cu12" in there) == (name == "gpu")


def test_the_images_are_installed_from_the_locks_alone() -> None:
    container, install = (ROOT / "images/Containerfile").read_text(), (ROOT / "images/install").read_text()
    assert re.findall(r"\./install (\w+)", container) == list(EXTRAS)
    for line in [
        line
        for line in (container + install).splitlines()
        if re.search(r"pip install|uv build", line) and "/wheels/" not in line
    ]:
        assert "--require-hashes" in line, line


@pytest.mark.parametrize(
    ("digest", "said"),
    [
        ("", "pinned by its tag alone"),
        ("sha256:" + "5" * 64, "slim-bookworm@sha256:555"),
        ("latest", "expected sha256:"),
    ],
)
def test_the_base_is_pinned_by_a_digest_or_said_not_to_be(tmp_path: Path, digest: str, said: str) -> None:
    (tmp_path / "docker").write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / "docker").chmod(0o755)
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "BUILDER": "docker", "PUSH": "0", "BASE_DIGEST": digest}
    done = subprocess.run(
        [ROOT / "images/build", "fedstream-python-slim"],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert said in done.stdout + done.stderr
    assert ("--build-arg" in done.stdout) == digest.startswith("sha256:")
    assert done.returncode == (2 if digest == "latest" else 0)
