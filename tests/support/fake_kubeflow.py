"""A fake of Kubeflow Pipelines' API server: the calls that a submission makes,
and runs that go through states a test sets.
"""

from __future__ import annotations

import base64
import gzip
import json
from dataclasses import dataclass
from typing import Any

from support.http_server import FakeServer, Refused


@dataclass
class Script:
    """What a submission will come to: its tasks at each question, one after another; the last stays.

    Attributes:
        states: (state of the run, tasks as "name STATE"), in order.
        error: what Kubeflow says about its failure.
    """

    states: list[tuple[str, list[str]]]
    error: str = ""


def rounds(count: int, unused: int = 0) -> list[str]:
    """Return the tasks of a submission that has committed some rounds, as Argo's nodes are named."""
    done = ["plan-training SUCCEEDED", "slot SUCCEEDED", "iteration-iterations SUCCEEDED"]
    for _ in range(count):
        done += [
            "open-round SUCCEEDED",
            "condition-2 SUCCEEDED",
            "one-round SUCCEEDED",
            "local-train SUCCEEDED",
            "executor SUCCEEDED",
        ]
        done += ["evaluate-driver SUCCEEDED", "evaluate SUCCEEDED", "executor SUCCEEDED"]
    return done + ["open-round SUCCEEDED", "condition-2 SKIPPED"] * unused + ["publish SUCCEEDED"]


def succeeded(count: int, unused: int = 0) -> Script:
    return Script([("SUCCEEDED", rounds(count, unused))])


def failed(count: int, *names: str, error: str = "") -> Script:
    return Script(
        [
            (
                "FAILED",
                [*rounds(count)[:-1], *(f"{name} FAILED" for name in names), "executor FAILED", "one-round FAILED"],
            )
        ],
        error,
    )


class FakeKubeflow(FakeServer):
    """The server.

    Attributes:
        scripts: what the next submissions will come to.
        token: the one it wants; empty for none.
        multi_user: whether it has profiles.
        refuses: a parameter that it does not know.
        ui: whether it is the web interface, which answers some calls itself.
        tells: where it tells a run's tasks: `nodes`, `compressed` (both in the workflow) or `details`.
        changed: when all tasks began, as Argo writes it; empty for not at all.
        stumbles: whether it answers 500 when it has terminated a run, as the real one does for want of a workflow.
        experiments, pipelines, versions, runs: what was made, oldest first.
    """

    def __init__(self) -> None:
        super().__init__()
        self.scripts: list[Script] = []
        self.token, self.multi_user, self.refuses, self.tells, self.ui = "", False, "", "compressed", True
        self.changed, self.stumbles = "", False
        self.experiments: list[dict[str, Any]] = []
        self.pipelines: list[dict[str, Any]] = []
        self.versions: list[dict[str, Any]] = []
        self.runs: list[dict[str, Any]] = []
        self._playing: dict[str, Script] = {}
        self._looks: dict[str, int] = {}
        self._terminated: set[str] = set()

    def answer(self, method: str, path: str, query: dict[str, str], body: bytes) -> Any:
        if path.endswith("/healthz"):
            if self.ui:
                return {
                    "apiServerTagName": "2.17.0",
                    "multi_user": self.multi_user,
                    "apiServerReady": True,
                    "frontendTagName": "2.17.0",
                }
            return {"commit_sha": "", "tag_name": "2.17.0", "multi_user": self.multi_user}
        if (
            self.token
            and self.headers.get("Authorization", self.headers.get("authorization")) != f"Bearer {self.token}"
        ):
            raise Refused(401, "Failed to authorize: Request header error: there is no user identity header.")
        parts = path.removeprefix("/apis/v2beta1/").split("/")
        kind = parts[0]
        if kind == "experiments":
            return (
                self._listed(self.experiments, "experiments", query)
                if method == "GET"
                else self._made(self.experiments, "experiment", body)
            )
        if parts[:2] == ["pipelines", "upload_version"]:
            return self._uploaded(query, body)
        if kind == "pipelines" and parts[-1] == "versions":
            return self._listed(self.versions, "pipeline_versions", query)
        if kind == "pipelines":
            return (
                self._listed(self.pipelines, "pipelines", query)
                if method == "GET"
                else self._made(self.pipelines, "pipeline", body)
            )
        if path.startswith("/apis/v1beta1/runs/"):
            return self._workflow(parts[-1])
        if kind == "runs" and len(parts) == 2 and ":" in parts[1]:
            return self._ended(*parts[1].split(":"))
        if kind == "runs" and len(parts) == 2:
            return self._run(parts[1])
        if kind == "runs" and method == "POST":
            return self._started(body)
        if kind == "runs":
            return self._listed(self.runs[::-1], "runs", query)
        raise Refused(404, f"Not Found {path}")

    def _listed(self, things: list[dict[str, Any]], name: str, query: dict[str, str]) -> dict[str, Any]:
        (wanted,) = json.loads(query["filter"])["predicates"]
        if name == "runs":
            assert (wanted["operation"], wanted["key"]) == ("IN", "state")
            found = [thing for thing in things if thing["state"] in wanted["stringValues"]["values"]]
        else:
            unique = "name" if name.startswith("pipeline") else "display_name"
            assert (wanted["operation"], wanted["key"]) == ("EQUALS", unique)
            found = [thing for thing in things if thing[unique] == wanted["stringValue"]]
        return {name: found, "total_size": len(found)} if found else {}

    def _made(self, things: list[dict[str, Any]], kind: str, body: bytes) -> dict[str, Any]:
        thing = json.loads(body) | {f"{kind}_id": f"{kind}-{len(things) + 1}"}
        unique = "name" if kind == "pipeline" else "display_name"
        if any(other[unique] == thing[unique] for other in things):
            raise Refused(409, f"Already exist error: {thing[unique]}")
        things.append(thing)
        return thing

    def _uploaded(self, query: dict[str, str], body: bytes) -> dict[str, Any]:
        assert b"pipelineInfo" in body
        made = {
            "pipeline_id": query["pipelineid"],
            "name": query["name"],
            "pipeline_version_id": f"version-{len(self.versions) + 1}",
        }
        self.versions.append(made)
        return made

    def _started(self, body: bytes) -> dict[str, Any]:
        run = json.loads(body) | {
            "run_id": f"run-{len(self.runs) + 1}",
            "state": "PENDING",
            "created_at": "2026-01-01T00:00:00Z",
        }
        if self.refuses in run["runtime_config"]["parameters"]:
            raise Refused(400, f"Failed to create a new run: InvalidInputError:\n unknown parameter {self.refuses}")
        self.runs.append(run)
        self._playing[run["run_id"]] = self.scripts.pop(0)
        return run

    def _run(self, run_id: str) -> dict[str, Any]:
        run = next((run for run in self.runs if run["run_id"] == run_id), None)
        if run is None:
            raise Refused(404, f"Failed to get a run: Run {run_id} not found", 5)
        script = self._playing[run_id]
        self._looks[run_id] = self._looks.get(run_id, -1) + 1
        state, tasks = self._now(run_id)
        run["state"] = "CANCELING" if run_id in self._terminated else state
        told = (
            [dict(zip(("display_name", "state"), task.split(), strict=True)) for task in tasks]
            if self.tells == "details"
            else []
        )
        return (
            run
            | {"run_details": {"task_details": told}}
            | ({"error": {"code": 2, "message": script.error}} if script.error else {})
        )

    def _now(self, run_id: str) -> tuple[str, list[str]]:
        states = self._playing[run_id].states
        return states[min(self._looks.get(run_id, 0), len(states) - 1)]

    def _ended(self, run_id: str, how: str) -> dict[str, Any]:
        """Terminate a run, which never ends in this fake, or archive it."""
        run = next(run for run in self.runs if run["run_id"] == run_id)
        if how == "archive":
            run["storage_state"] = "ARCHIVED"
        elif how == "terminate":
            run["state"] = "CANCELING"
            self._terminated.add(run_id)
            if self.stumbles:
                raise Refused(
                    500, 'Failed to terminate a run: workflows.argoproj.io "federated-training-x" not found', 13
                )
        return {}

    def _workflow(self, run_id: str) -> dict[str, Any]:
        """Return a run as the old API does, with Argo's workflow in it."""
        if self.tells == "details":
            raise Refused(404, "Not Found")
        tasks = [task.split() for task in self._now(run_id)[1]]
        nodes = {
            f"node-{number}": {"displayName": name, "phase": state.capitalize(), "startedAt": self.changed or None}
            for number, (name, state) in enumerate(tasks)
        }
        packed = {"compressedNodes": base64.b64encode(gzip.compress(json.dumps(nodes).encode())).decode()}
        workflow = {"status": packed if self.tells == "compressed" else {"nodes": nodes}}
        return {"run": {"id": run_id}, "pipeline_runtime": {"workflow_manifest": json.dumps(workflow)}}
