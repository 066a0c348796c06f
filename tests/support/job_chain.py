"""The looping pipeline on a Kubernetes that has no Kubeflow: every task a Job, in the order of the pipeline."""

import json
import uuid
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from support.kubernetes_api import get, items, kubectl, until
from support.task_jobs import CompiledTasks, outputs_of

from fedstream.steps.rounds import run_round


class JobRound:
    """The steps of one round as Jobs."""

    def __init__(self, chain: "JobChain", where: dict[str, Any], rounds: int, shared: dict[str, str]) -> None:
        self.chain, self.where, self.rounds, self.shared = chain, where, rounds, shared

    def select_clients(self) -> list[str]:
        return self.chain.task("select-clients", self.where | {"rounds": self.rounds})

    def client(self, client: str) -> str:
        who = self.where | {"client": client}
        slice = self.chain.outputs(
            "ingest-from-kafka", who | self.shared, {"client_store_secret": self.shared["store_secret"]}
        )
        gpu = {"gpu_type": slice["gpu_type"], "gpu_count": slice["gpu_count"]}
        return self.chain.task(
            "local-train", who | gpu | {"attempt": self.shared["attempt"], "slice_key": slice["slice_key"]}, slice
        )

    def aggregate(self, trained: Iterable[str]) -> str:
        return self.chain.task("aggregate", self.where | {"attempt": self.shared["attempt"], "trained": list(trained)})

    def evaluate(self) -> str:
        return self.chain.task("evaluate", self.where)


def all_at_once(call: Callable[[str], str], clients: Sequence[str]) -> list[str]:
    """Do the clients' parts side by side, as the pipeline does."""
    with ThreadPoolExecutor(len(clients)) as pool:
        return list(pool.map(call, clients))


class JobChain:
    """Runs of the compiled pipeline in one namespace."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.tasks = CompiledTasks()

    def run(self, values: dict[str, Any], before_round: Callable[[int], None]) -> int:
        """Run to the end and return the published version.

        Args:
            values: fields of RunSpec.
            before_round: called with each round's number before its tasks start.
        """
        attempt, run, rounds = uuid.uuid4().hex, values["run"], values["rounds"]
        secrets = {name: self.tasks.form[name] for name in ("store_secret", "client_store_secret")}
        for slot in self.task("plan-training", values):
            opened = self.outputs(
                "open-round", {"run": run, "rounds": rounds, "attempt": attempt, "slot": slot, **secrets}
            )
            if opened["Output"] >= 0:
                before_round(opened["Output"])
                shared = {"attempt": attempt, "store_secret": opened["store_secret"]}
                run_round(JobRound(self, {"run": run, "round": opened["Output"]}, rounds, shared), all_at_once)
        return self.task("publish", {"run": run, "rounds": rounds})

    def task(self, task: str, arguments: dict[str, Any], placement: dict[str, Any] | None = None) -> Any:
        """Run one task and return its one output."""
        return self.outputs(task, arguments, placement)["Output"]

    def outputs(self, task: str, arguments: dict[str, Any], placement: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run one task and return its outputs; what it logged becomes the error if it fails."""
        name = f"{task}-{uuid.uuid4().hex[:8]}"
        kubectl(
            "-n",
            self.namespace,
            "create",
            "-f",
            "-",
            stdin=json.dumps(self.tasks.job(name, task, arguments, placement)),
        )
        until(f"{name} ends", lambda: self._ended(name), 300)
        pods = items("-n", self.namespace, "pods", "-l", f"job-name={name}")
        states = [
            pod["status"]["containerStatuses"][0]["state"].get("terminated", {})
            for pod in pods
            if pod["status"].get("containerStatuses")
        ]
        succeeded = [state for state in states if state.get("exitCode") == 0]
        assert succeeded, kubectl("-n", self.namespace, "logs", f"job/{name}", check=False)
        return outputs_of(succeeded[0]["message"])

    def _ended(self, name: str) -> bool:
        status = get("-n", self.namespace, "job", name)["status"]
        return any(
            condition["type"] in ("Complete", "Failed") and condition["status"] == "True"
            for condition in status.get("conditions", [])
        )
