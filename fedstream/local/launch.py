"""Run the compiled pipeline in a child process, its noise in a log file. Knows nothing of KFP but the command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from fedstream.errors import RunError
from fedstream.steps.runtime import FAILED

STOP_S = 10.0
"""Seconds the child may take to end after Ctrl-C before it is killed."""

LAST_LINES = 15


def run_pipeline(arguments: dict[str, Any], log: Path) -> int:
    """Run the compiled pipeline and return the published version, or 0 if the run is not finished.

    Args:
        arguments: the pipeline's parameters.
        log: file that takes all output of the pipeline.

    Raises:
        RunError: the pipeline failed; says the failing step's own reason, or its last lines.
    """
    command = [sys.executable, "-m", "fedstream.pipelines.run_locally"]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            assert child.stdin is not None
            child.stdin.write(json.dumps({"arguments": arguments}).encode())
            child.stdin.close()
            child.wait()
        finally:
            _stop(child)
    text = log.read_text(encoding="utf-8", errors="replace")
    if child.returncode != 0:
        raise RunError(f"{_cause(text)}\nThe whole log is in {log}")
    return int(json.loads(text.strip().splitlines()[-1])["version"])


def _stop(child: subprocess.Popen[bytes]) -> None:
    """End the child and the steps it has started, which are in its process group."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, number)
            child.wait(STOP_S)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def _cause(text: str) -> str:
    """Return the failing step's own reason, or else its last lines."""
    lines = text.splitlines()
    reasons = [line.split(FAILED, 1)[1].strip() for line in lines if FAILED in line]
    if reasons:
        return reasons[-1]
    end = next((number for number, line in enumerate(lines) if "FAILURE" in line), len(lines))
    said = [line.strip() for line in lines[:end] if line.strip() and "[KFP Executor" not in line]
    return "a step failed; its last lines were:\n" + "\n".join(said[-LAST_LINES:])
