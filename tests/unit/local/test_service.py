"""The life of one server, with a small server of our own in the place of Kafka."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import pytest

from fedstream.errors import PlatformError
from fedstream.local import process, service
from fedstream.local.process import ProcessRecord
from fedstream.local.service import NotReadyError, Service

ECHO = """
import socket, sys
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", int(sys.argv[1])))
listener.listen()
while True:
    connection, _ = listener.accept()
    connection.sendall(b"echo")
    connection.close()
"""


class Echo(Service):
    name: ClassVar[str] = "echo"
    title: ClassVar[str] = "Echo"
    port_names: ClassVar[tuple[str, ...]] = ("main",)
    start_s: ClassVar[float] = 10.0
    stop_s: ClassVar[float] = 5.0
    program: str = ECHO

    def prepare(self) -> list[str]:
        return [sys.executable, "-S", "-c", self.program, str(self.ports["main"])]

    def environment(self) -> Mapping[str, str]:
        return os.environ

    def probe(self) -> None:
        with socket.create_connection(("127.0.0.1", self.ports["main"]), timeout=0.5) as connection:
            if connection.recv(4) != b"echo":
                raise NotReadyError("no echo")


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def echo(tmp_path: Path, said: list[str]) -> Iterator[Echo]:
    service = Echo(tmp_path / "echo", bound=False, say=said.append)
    yield service
    service.stop()


def again(echo: Echo) -> Echo:
    """Return what another process would make for the same folder."""
    return Echo(echo.folder, bound=False, say=echo.say)


def test_it_starts_works_and_stops(echo: Echo) -> None:
    assert not echo.running
    assert echo.address == ""
    echo.start()
    status = echo.status()
    assert status.running
    assert status.address == echo.address
    assert status.pid > 0
    assert status.memory_bytes > 0
    echo.stop()
    assert not echo.running
    assert echo.status().address == status.address, "the last address is remembered"


def test_a_second_one_finds_the_first_and_can_stop_it(echo: Echo, said: list[str]) -> None:
    echo.start()
    other = again(echo)
    other.start()
    assert other.status().pid == echo.status().pid
    assert echo.launched
    assert not other.launched
    assert "Echo is already running" in said
    other.stop()
    assert not echo.running


def test_one_that_is_alive_and_does_not_answer_is_told_from_one_that_works_and_started_again(
    echo: Echo, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "REPAIR_S", 0.5)
    echo.start()
    pid = echo.status().pid
    assert echo.status().state == "up"
    os.kill(pid, signal.SIGSTOP)
    status = again(echo).status()
    assert status.running
    assert status.state == "does not work: timed out"
    repaired = again(echo)
    repaired.start()
    assert "Echo does not work (timed out); restarting it" in said
    assert repaired.status().state == "up"
    assert repaired.status().pid != pid
    repaired.stop()
    assert echo.status().state == "down"


def test_it_comes_back_on_the_same_port_after_a_crash(echo: Echo) -> None:
    echo.start()
    address, pid = echo.address, echo.status().pid
    echo.kill()
    assert not echo.running
    echo.start()
    assert echo.address == address
    assert echo.status().pid != pid


def test_a_crash_that_nobody_asked_for_is_noticed_and_repaired(echo: Echo) -> None:
    echo.start()
    os.kill(echo.status().pid, signal.SIGKILL)
    assert process.wait_until(lambda: not echo.running, 5)
    with pytest.raises(PlatformError, match="Echo has ended"):
        echo.check_alive()
    echo.start()
    echo.check_alive()


def test_it_takes_another_port_when_its_own_is_taken_while_it_was_down(echo: Echo) -> None:
    echo.start()
    address = echo.address
    echo.stop()
    with socket.create_server(("127.0.0.1", int(address.rpartition(":")[2]))):
        echo.start()
        assert echo.address != address


def test_it_tries_other_ports_when_one_is_taken_at_the_last_moment(
    echo: Echo, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    good = process.free_ports(1)
    with socket.create_server(("127.0.0.1", 0)) as thief:
        offers = [[thief.getsockname()[1]], good]
        monkeypatch.setattr(process, "free_ports", lambda _: offers.pop(0))
        echo.start()
    assert echo.ports == {"main": good[0]}
    assert any("took a port" in line for line in said)


def test_it_gives_up_when_every_port_is_taken(echo: Echo, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as thief:
        monkeypatch.setattr(process, "free_ports", lambda _: [thief.getsockname()[1]])
        with pytest.raises(PlatformError, match="found its ports in use 3 times in a row"):
            echo.start()


def test_one_that_dies_at_once_shows_the_end_of_its_log(echo: Echo) -> None:
    echo.program = "import sys; sys.exit('out of cheese')"
    with pytest.raises(
        PlatformError, match=r"(?s)Echo ended while it was starting; the end of .*echo\.log:.*out of cheese"
    ):
        echo.start()


def test_one_that_never_works_is_given_up_at_the_deadline(echo: Echo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Echo, "start_s", 0.3)
    echo.program = "import time; time.sleep(60)"
    with pytest.raises(PlatformError, match="does not work after 0 s"):
        echo.start()
    assert echo.running, "whoever started it decides"


def test_one_whose_owner_has_died_is_replaced(echo: Echo) -> None:
    echo.start()
    path = echo.folder / "process.json"
    record = ProcessRecord.load(path)
    assert record is not None
    ProcessRecord(record.pid, record.mark, record.since, owner=os.getpid(), owner_mark="an earlier start").save(path)
    other = again(echo)
    other.start()
    assert other.status().pid != record.pid
    assert not record.alive


def test_the_log_of_the_last_start_is_kept(echo: Echo) -> None:
    echo.program = "import sys; sys.exit('first')"
    with pytest.raises(PlatformError):
        echo.start()
    echo.program = ECHO
    echo.start()
    assert "first" in (echo.folder / "echo.log.1").read_text()
    assert "first" not in echo.log.read_text()


@pytest.mark.parametrize("text", ["", "[]", '{"other": 1}'])
def test_a_broken_ports_file_is_replaced(echo: Echo, text: str) -> None:
    echo.folder.mkdir()
    (echo.folder / "ports.json").write_text(text)
    echo.start()
    assert echo.address.startswith("127.0.0.1:")
