"""Run the compiled pipeline in a child process and write its output to a log file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from fedstream.errors import FedstreamError, RunError, UsageError
from fedstream.steps.runtime import FAILED, REFUSED

STOP_S = 10.0
"""Seconds to wait for the child to end after Ctrl-C before it is killed."""

LAST_LINES = 15


def run_pipeline(arguments: dict[str, Any], log: Path) -> int:
    """Run the compiled pipeline and return the published version, or 0 if the run is not finished.

    Args:
        arguments: Parameters of the pipeline.
        log: File to which all output of the pipeline is appended.

    Raises:
        RunError: The pipeline failed; the message contains the failed step's reason, or its last lines.
        UsageError: A step rejected a value.
    """
    with (
        tempfile.TemporaryDirectory(prefix="fedstream-", ignore_cleanup_errors=True) as folder,
        log.open("ab") as output,
    ):
        began, result = output.tell(), Path(folder) / "result.json"
        child = subprocess.Popen(
            [sys.executable, "-u", "-P", "-m", "fedstream.pipelines.run_locally", str(result)],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "TMPDIR": folder, "PYTHONSAFEPATH": "1"},
            start_new_session=True,
        )
        try:
            _tell(child, arguments)
            child.wait()
        finally:
            _stop(child)
        if child.returncode == 0:
            return int(json.loads(result.read_text(encoding="utf-8"))["version"])
    raise _cause(log.read_bytes()[began:].decode(errors="replace"), log)


def _tell(child: subprocess.Popen[bytes], arguments: dict[str, Any]) -> None:
    """Write the arguments and leave the pipe open, because the child ends when the pipe is closed."""
    assert child.stdin is not None
    with suppress(BrokenPipeError):
        child.stdin.write(json.dumps(arguments).encode() + b"\n")
        child.stdin.flush()


def _stop(child: subprocess.Popen[bytes]) -> None:
    """Stop the child and the steps that it has started, which are in its process group."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, number)
            child.wait(STOP_S)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def _cause(text: str, log: Path) -> FedstreamError:
    """Return the failed step's own reason, or else its last lines."""
    lines, where = text.splitlines(), f"(the full log is in {log})"
    for mark, kind in ((REFUSED, UsageError), (FAILED, RunError)):
        if reasons := [line.split(mark, 1)[1].strip() for line in lines if mark in line]:
            return kind(f"{reasons[-1]} {where}")
    end = next((number for number, line in enumerate(lines) if "FAILURE" in line), len(lines))
    said = [line.strip() for line in lines[:end] if line.strip() and "[KFP Executor" not in line]
    return RunError("\n".join([f"a step failed {where}; its last lines were:", *said[-LAST_LINES:]]))
