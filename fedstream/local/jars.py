"""Find the jars of Apache Kafka, or download them once from a Maven repository, and check their digests."""

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
"""Time limit in seconds for 46 jars of 44 MB in total, which take 4 s on a fast connection."""
AT_ONCE = 8
ELSEWHERE = (
    f"Set {maven.VARIABLE} to a repository that this machine can reach, KAFKA_HOME to an unpacked Apache Kafka 4, "
    "or KAFKA_BOOTSTRAP_SERVERS to a running broker"
)


@dataclass(frozen=True)
class Jar:
    """One line of the lock file.

    Attributes:
        path: Path of the jar in a Maven repository.
        digest: SHA-256 of its bytes, in hexadecimal.
    """

    path: str
    digest: str

    @property
    def name(self) -> str:
        """Name of the file."""
        return self.path.rpartition("/")[2]

    def is_in(self, folder: Path) -> bool:
        """Return whether a folder contains the jar, complete and unchanged."""
        try:
            with (folder / self.name).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == self.digest
        except OSError:
            return False


def locked_jars() -> list[Jar]:
    """Return the jars of the embedded Kafka from the lock file, which has the format of `sha256sum`."""
    return [Jar(path, digest) for digest, path in (line.split() for line in LOCK.read_text().splitlines())]


def kafka_version() -> str:
    """Return the version of Apache Kafka that is locked."""
    (version,) = (found[1] for jar in locked_jars() if (found := re.fullmatch(r"kafka_2\.\d+-(.+)\.jar", jar.name)))
    return version


def jars_folder() -> Path:
    """Return the folder of the downloaded jars, which need not exist."""
    return paths.cache_dir() / f"kafka-{kafka_version()}"


def kafka_classpath(say: Callable[[str], None]) -> str:
    """Return the Java class path of Apache Kafka in $KAFKA_HOME, or in the cache after downloading missing jars.

    Raises:
        PlatformError: $KAFKA_HOME does not contain Kafka, or the repository does not answer or serves different files.
    """
    home = os.environ.get("KAFKA_HOME")
    if home:
        libs = Path(home) / "libs"
        if not any(libs.glob("kafka_2.*.jar")):
            raise PlatformError(
                f"$KAFKA_HOME is {home}, but {libs} contains no kafka_2.*.jar; "
                "set it to an unpacked Apache Kafka 4, or unset it"
            )
        return f"{libs}/*"
    jars, folder = locked_jars(), jars_folder()
    if missing(jars, folder):
        folder.mkdir(parents=True, exist_ok=True)
        waiting = "Waiting for another process that downloads Apache Kafka"
        with process.locked(folder.with_name(f"{folder.name}.lock"), deadline_s=FETCH_S, on_wait=lambda: say(waiting)):
            if absent := missing(jars, folder):
                _fetch(absent, folder, say)
    return os.pathsep.join(str(folder / jar.name) for jar in jars)


def missing(jars: Iterable[Jar], folder: Path) -> list[Jar]:
    """Return the jars that are missing in a folder or damaged, for example by an interrupted download."""
    return [jar for jar in jars if not jar.is_in(folder)]


def _fetch(jars: Sequence[Jar], folder: Path, say: Callable[[str], None]) -> None:
    source = maven.repository()
    say(f"Downloading Apache Kafka {kafka_version()} ({len(jars)} jars) to {folder}, only this once")
    # Jars are downloaded to a separate folder first, so that an interrupted download never looks complete.
    with (
        tempfile.TemporaryDirectory(dir=folder.parent, prefix="fetching-") as scratch,
        ThreadPoolExecutor(AT_ONCE) as pool,
    ):

        def fetch(jar: Jar) -> None:
            maven.fetch(f"{source}/{jar.path}", Path(scratch) / jar.name, jar.digest)
            os.replace(Path(scratch) / jar.name, folder / jar.name)

        tasks = [pool.submit(fetch, jar) for jar in jars]
        try:
            deadline = time.monotonic() + FETCH_S
            for task in tasks:
                task.result(max(0.0, deadline - time.monotonic()))
        except TimeoutError as error:
            raise PlatformError(
                f"Apache Kafka was not downloaded within {FETCH_S:.0f} s; try again: downloaded jars are kept"
            ) from error
        except PlatformError as error:
            raise PlatformError(f"Apache Kafka cannot be downloaded: {error}. {ELSEWHERE}") from error
        finally:
            pool.shutdown(cancel_futures=True)
