"""A fake of Kubeflow Pipelines that does what it is asked for: it runs the steps of a submitted run on this machine."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from support.fake_kubeflow import FakeKubeflow, Script, rounds

from fedstream.record.spec import RunSpec
from fedstream.store.ledger import Ledger
from fedstream.store.objects import ObjectStore

CODE = "import json, sys; from fedstream.local.inprocess import run_inprocess; run_inprocess(json.load(sys.stdin))"


class LocalKubeflow(FakeKubeflow):
    """The server; its runs use the Kafka and the store of this process' environment, and end with it."""

    def __init__(self) -> None:
        super().__init__()
        self._children: dict[str, subprocess.Popen[str]] = {}

    def answer(self, method: str, path: str, query: dict[str, str], body: bytes) -> Any:
        if path.endswith("/healthz"):
            return {
                "apiServerTagName": "a fake of it that runs the steps on this machine",
                "multi_user": False,
                "apiServerReady": True,
            }
        return super().answer(method, path, query, body)

    def _started(self, body: bytes) -> dict[str, Any]:
        self.scripts.append(Script([]))
        run = super()._started(body)
        values = {
            name: value for name, value in run["runtime_config"]["parameters"].items() if name in RunSpec.model_fields
        }
        child = self._children[run["run_id"]] = subprocess.Popen(
            [sys.executable, "-c", CODE],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert child.stdin
        with child.stdin:
            json.dump(values, child.stdin)
        return run

    def _now(self, run_id: str) -> tuple[str, list[str]]:
        code = self._children[run_id].poll()
        name = next(run["display_name"] for run in self.runs if run["run_id"] == run_id)
        done = rounds(max(0, len(Ledger(ObjectStore.from_env(), name).commits()) - 1))
        return ("RUNNING", done[:-1]) if code is None else ("FAILED", done[:-1]) if code else ("SUCCEEDED", done)

    def server_close(self) -> None:
        for child in self._children.values():
            child.kill()
            child.wait(30)
        super().server_close()
