"""The jars of Apache Kafka: found, or fetched once from a Maven repository, each held to its digest. Starts no broker."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from fedstream.errors import PlatformError
from fedstream.local import maven, paths, process

FILES = Path(__file__).with_name("kafka_files")
LOCK = FILES / "jars.sha256"
FETCH_S = 900.0
"""46 jars, 44 MB: 4 s on a good line, and people have bad ones."""
AT_ONCE = 8
ELSEWHERE = (
    f"Set {maven.VARIABLE} to a repository that this machine reaches, KAFKA_HOME to an unpacked Apache Kafka 4, "
    "or KAFKA_BOOTSTRAP_SERVERS to a running broker"
)


@dataclass(frozen=True)
class Jar:
    """One line of the lock.

    Attributes:
        path: in a Maven repository.
        digest: SHA-256 of its bytes, in hexadecimal.
    """

    path: str
    digest: str

    @property
    def name(self) -> str:
        """The file's own name."""
        return self.path.rpartition("/")[2]

    def is_in(self, folder: Path) -> bool:
        """Whether a folder holds the jar, whole and unchanged."""
        try:
            with (folder / self.name).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == self.digest
        except OSError:
            return False


def locked_jars() -> list[Jar]:
    """Return the jars of the embedded Kafka, as `sha256sum` writes them: digest, two spaces, path."""
    return [Jar(path, digest) for digest, path in (line.split() for line in LOCK.read_text().splitlines())]


def kafka_version() -> str:
    """Return the version of Apache Kafka that is locked."""
    (version,) = (found[1] for jar in locked_jars() if (found := re.fullmatch(r"kafka_2\.\d+-(.+)\.jar", jar.name)))
    return version


def jars_folder() -> Path:
    """Return where fetched jars are kept; it may not be there."""
    return paths.cache_dir() / f"kafka-{kafka_version()}"


def kafka_classpath(say: Callable[[str], None]) -> str:
    """Return the Java class path of Apache Kafka: of $KAFKA_HOME, or of the cache, to which all that it lacks is fetched.

    Raises:
        PlatformError: $KAFKA_HOME holds no Kafka, or the repository does not answer, or answers with other bytes.
    """
    home = os.environ.get("KAFKA_HOME")
    if home:
        libs = Path(home) / "libs"
        if not any(libs.glob("kafka_2.*.jar")):
            raise PlatformError(f"$KAFKA_HOME is {home}, but {libs} holds no kafka_2.*.jar; set it to an unpacked Apache Kafka 4, or unset it")
        return f"{libs}/*"
    jars, folder = locked_jars(), jars_folder()
    if missing(jars, folder):
        folder.mkdir(parents=True, exist_ok=True)
        waiting = "Waiting for another process that fetches Apache Kafka"
        with process.locked(folder.with_name(f"{folder.name}.lock"), deadline_s=FETCH_S, on_wait=lambda: say(waiting)):
            if absent := missing(jars, folder):
                _fetch(absent, folder, say)
    return os.pathsep.join(str(folder / jar.name) for jar in jars)


def missing(jars: Iterable[Jar], folder: Path) -> list[Jar]:
    """Return the jars that a folder lacks, or holds damaged: a fetch that was cut short, or a disk that failed."""
    return [jar for jar in jars if not jar.is_in(folder)]


def _fetch(jars: Sequence[Jar], folder: Path, say: Callable[[str], None]) -> None:
    source = maven.repository()
    say(f"Fetching Apache Kafka {kafka_version()} ({len(jars)} jars) into {folder}, this once")
    # Beside their place first: a fetch that was cut short is never taken for a whole one.
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="fetching-") as scratch, ThreadPoolExecutor(AT_ONCE) as pool:

        def fetch(jar: Jar) -> None:
            maven.fetch(f"{source}/{jar.path}", Path(scratch) / jar.name, jar.digest)
            os.replace(Path(scratch) / jar.name, folder / jar.name)

        tasks = [pool.submit(fetch, jar) for jar in jars]
        try:
            deadline = time.monotonic() + FETCH_S
            for task in tasks:
                task.result(max(0.0, deadline - time.monotonic()))
        except TimeoutError as error:
            raise PlatformError(f"Apache Kafka was not fetched within {FETCH_S:.0f} s; try again: what has arrived is kept") from error
        except PlatformError as error:
            raise PlatformError(f"Apache Kafka cannot be fetched: {error}. {ELSEWHERE}") from error
        finally:
            pool.shutdown(cancel_futures=True)
