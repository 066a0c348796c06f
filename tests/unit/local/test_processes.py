"""Starting, finding again and stopping processes."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from fedstream.errors import PlatformError
from fedstream.local import process
from fedstream.local.process import ProcessRecord

SLEEPER = [sys.executable, "-S", "-c", "import time; print('up', flush=True); time.sleep(60)"]
STUBBORN = [
    sys.executable,
    "-S",
    "-c",
    "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)",
]
GUARD = str(Path(process.__file__).with_name("guard.py"))


@pytest.fixture
def spawned(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[..., ProcessRecord]:
    def spawn(command: list[str], *, bound: bool = False) -> ProcessRecord:
        child, record = process.spawn(command, log=tmp_path / "log", env=os.environ, bound=bound, patience_s=1.0)
        request.addfinalizer(child.wait)
        request.addfinalizer(child.kill)
        assert process.wait_until(lambda: b"up" in (tmp_path / "log").read_bytes(), 10)
        return record

    return spawn


def test_a_process_is_found_again_from_its_file(tmp_path: Path, spawned: Callable[..., ProcessRecord]) -> None:
    record = spawned(SLEEPER)
    record.save(tmp_path / "record.json")
    found = ProcessRecord.load(tmp_path / "record.json")
    assert found == record
    assert found.alive
    assert found.memory_bytes > 1_000_000


def test_another_process_with_the_same_pid_is_not_taken_for_it(spawned: Callable[..., ProcessRecord]) -> None:
    record = replace(spawned(SLEEPER), mark="an earlier start")
    assert not record.alive
    process.stop(record, patience_s=0)
    assert psutil.pid_exists(record.pid), "a stranger must not be stopped"


def test_a_zombie_is_not_alive(tmp_path: Path) -> None:
    child, record = process.spawn(
        [sys.executable, "-S", "-c", ""], log=tmp_path / "log", env=os.environ, bound=False, patience_s=1
    )
    assert process.wait_until(lambda: not record.alive, 10)
    assert child.wait() == 0


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}', '{"pid": 1, "mark": "x", "since": 0, "more": 1}'])
def test_a_record_cut_short_counts_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "record.json").write_text(text)
    assert ProcessRecord.load(tmp_path / "record.json") is None
    assert ProcessRecord.load(tmp_path / "absent.json") is None


def test_stop_waits_until_the_process_has_ended(spawned: Callable[..., ProcessRecord]) -> None:
    record = spawned(SLEEPER)
    process.stop(record, patience_s=10)
    assert not record.alive


def test_stop_kills_what_ignores_sigterm(spawned: Callable[..., ProcessRecord]) -> None:
    record = spawned(STUBBORN)
    process.stop(record, patience_s=0.1)
    assert not record.alive


def test_a_program_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match="cannot start /no/such/program: No such file"):
        process.spawn(["/no/such/program"], log=tmp_path / "log", env={}, bound=False, patience_s=1)


@pytest.mark.parametrize("command", [SLEEPER, STUBBORN])
@pytest.mark.parametrize("reaped", [True, False])
def test_a_guarded_server_ends_with_its_parent_even_when_that_is_killed(
    tmp_path: Path, command: list[str], reaped: bool
) -> None:
    script = (
        "import subprocess, sys, os, threading\n"
        f"argv = [sys.executable, '-I', '-S', {GUARD!r}, str(os.getpid()), '0.3', *{command!r}]\n"
        # Started in a thread that ends at once: the server must outlive that thread.
        "thread = threading.Thread(target=lambda: print(subprocess.Popen(argv, start_new_session=True, "
        "stdout=subprocess.DEVNULL).pid, flush=True))\n"
        "thread.start(); thread.join(); sys.stdin.read()\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    server = psutil.Process(int(parent.stdout.readline()))

    def is_server() -> bool:
        command_line = server.cmdline()
        return any("time.sleep(60)" in part for part in command_line) and "guard.py" not in " ".join(command_line)

    assert process.wait_until(is_server, 10)
    watchers = server.children()
    assert len(watchers) == 1
    with pytest.raises(psutil.TimeoutExpired):
        server.wait(0.7)
    parent.send_signal(signal.SIGKILL)
    if reaped:
        parent.wait()
    _, alive = psutil.wait_procs([server, *watchers], timeout=10)
    parent.communicate()
    assert not [each for each in alive if each.status() != psutil.STATUS_ZOMBIE]


def test_a_watcher_ends_with_its_server(spawned: Callable[..., ProcessRecord]) -> None:
    record = spawned(SLEEPER, bound=True)
    (watcher,) = psutil.Process(record.pid).children()
    assert record.owner == os.getpid()
    assert not record.abandoned
    process.stop(record, patience_s=10)
    psutil.wait_procs([watcher], timeout=5)
    assert not watcher.is_running()


def test_a_server_whose_owner_is_gone_is_abandoned(spawned: Callable[..., ProcessRecord]) -> None:
    record = spawned(SLEEPER)
    assert not record.abandoned
    assert replace(record, owner=os.getpid(), owner_mark="an earlier start").abandoned


def test_free_ports_differ_and_nobody_listens_there() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        assert not process.port_is_free(listener.getsockname()[1])
    ports = process.free_ports(20)
    assert len(set(ports)) == 20
    assert all(map(process.port_is_free, ports))


def test_private_files_are_private_from_the_start(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    process.write_private(path, "one")
    process.write_private(path, "two")
    assert path.read_text() == "two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["secret"]


def test_the_end_of_a_log_is_shown_without_empty_lines(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("".join(f"line {number}\n\n" for number in range(20_000)))
    assert process.tail(tmp_path / "log", 2) == "    line 19998\n    line 19999"
    assert process.tail(tmp_path / "none") == ""


def test_a_lock_is_held_by_one_and_freed_by_death(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    holder = (
        "import fcntl, sys; file = open(sys.argv[1], 'a'); fcntl.flock(file, fcntl.LOCK_EX); "
        "print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        waits: list[str] = []
        with (
            pytest.raises(PlatformError, match=r"another process has held .*lock"),
            process.locked(path, deadline_s=0.1, on_wait=lambda: waits.append("")),
        ):
            pytest.fail("held twice")
        assert waits == [""]
        other.kill()
        with process.locked(path, deadline_s=5, on_wait=lambda: None):
            pass


def test_a_record_is_plain_json(tmp_path: Path) -> None:
    ProcessRecord(7, "mark", 1.5).save(tmp_path / "record.json")
    assert json.loads((tmp_path / "record.json").read_text()) == {
        "pid": 7,
        "mark": "mark",
        "since": 1.5,
        "owner": 0,
        "owner_mark": "",
    }
