"""Java and the jars of Apache Kafka: found, or fetched once through Maven. Starts no broker."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from fedstream.errors import PlatformError
from fedstream.local import paths, process

FILES = Path(__file__).with_name("kafka_files")
FETCH_S = 900.0
"""46 jars, 44 MB: 6 s on a good line, and people have bad ones."""


def find_java() -> str:
    """Return the path of `java`: of $JAVA_HOME, or the first one on the PATH.

    Raises:
        PlatformError: there is none.
    """
    home = os.environ.get("JAVA_HOME")
    candidate = str(Path(home) / "bin" / "java") if home else "java"
    java = shutil.which(candidate)
    if java is None:
        where = f"$JAVA_HOME is {home}, which has no bin/java" if home else "there is no java on the PATH"
        raise PlatformError(f"Apache Kafka needs Java 17 or newer and {where}; install it (Debian: apt install openjdk-17-jre-headless)")
    return str(Path(java).absolute())


def kafka_version() -> str:
    """Return the version of Apache Kafka that the project's pom.xml asks for."""
    found = re.search(r"<kafka\.version>([^<]+)</kafka\.version>", (FILES / "pom.xml").read_text())
    if found is None:
        raise PlatformError(f"{FILES / 'pom.xml'} has no <kafka.version>; reinstall fedstream")
    return found.group(1)


def kafka_classpath(say: Callable[[str], None]) -> str:
    """Return the Java class path of Apache Kafka: of $KAFKA_HOME, or of the cache, which is filled on first use.

    Raises:
        PlatformError: $KAFKA_HOME holds no Kafka, or Maven is missing or fails.
    """
    home = os.environ.get("KAFKA_HOME")
    if home:
        libs = Path(home) / "libs"
        if not any(libs.glob("kafka_2.*.jar")):
            raise PlatformError(f"$KAFKA_HOME is {home}, but {libs} holds no kafka_2.*.jar; set it to an unpacked Apache Kafka 4, or unset it")
        return f"{libs}/*"
    folder = paths.cache_dir() / f"kafka-{kafka_version()}"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        waiting = "Waiting for another process that fetches Apache Kafka"
        with process.locked(folder.with_name(f"{folder.name}.lock"), deadline_s=FETCH_S, on_wait=lambda: say(waiting)):
            if not folder.is_dir():
                _fetch(folder, say)
    return f"{folder}/*"


def _fetch(folder: Path, say: Callable[[str], None]) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise PlatformError(
            "Apache Kafka is fetched with Maven and there is no mvn on the PATH; install it (Debian: apt install maven), "
            "set KAFKA_HOME to an unpacked Apache Kafka 4, or set KAFKA_BOOTSTRAP_SERVERS to a running broker"
        )
    say(f"Fetching Apache Kafka {kafka_version()} with Maven into {folder} (44 MB, this once)")
    # Into a folder of its own, renamed when complete: a fetch that was cut short is never taken for a whole one.
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="fetching-") as scratch:
        target = Path(scratch) / "jars"
        command = [maven, "-B", "-q", "--strict-checksums", "-f", str(FILES / "pom.xml"), "dependency:copy-dependencies"]
        command += ["-DincludeScope=runtime", f"-DoutputDirectory={target}"]
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=FETCH_S, check=False)
        except subprocess.TimeoutExpired as error:
            raise PlatformError(f"Maven has not fetched Apache Kafka within {FETCH_S:.0f} s; try again on a better line") from error
        if done.returncode or not any(target.glob("kafka_2.*.jar")):
            lines = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("[ERROR]") and len(line) > len("[ERROR] ")][:3]
            raise PlatformError("Maven could not fetch Apache Kafka:\n" + "\n".join(f"    {line}" for line in lines))
        target.rename(folder)
