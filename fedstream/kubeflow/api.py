"""The calls of the Kubeflow Pipelines API that a submission needs.

Each call has a timeout, is retried while a retry can help, and reports errors in one line.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fedstream.errors import ClusterAway, ClusterError
from fedstream.kubeflow import calls
from fedstream.kubeflow.connection import SERVICE, Connection
from fedstream.kubeflow.package import Package
from fedstream.kubeflow.progress import last_change, nodes_of

if TYPE_CHECKING:
    from kfp_server_api import V2beta1Experiment, V2beta1Pipeline, V2beta1PipelineVersion, V2beta1Run

GONE = 5
"""The API's own code for "not found"; a 404 without it comes from a proxy or gateway in between."""

UNDER_WAY = ("RUNTIME_STATE_UNSPECIFIED", "PENDING", "RUNNING", "PAUSED")
"""States of a run in progress. A terminated run is not in progress, even if it takes long to end."""


@dataclass(frozen=True)
class Version:
    """An uploaded pipeline.

    Attributes:
        pipeline_id: ID of the pipeline.
        version_id: ID of the pipeline version.
        uploaded: Whether this call uploaded the version.
    """

    pipeline_id: str
    version_id: str
    uploaded: bool


class PipelinesApi:
    """A client of one API server.

    Args:
        connection: Connection to the server.
    """

    def __init__(self, connection: Connection) -> None:
        import kfp_server_api as generated

        self.connection = connection
        self._server = calls.Server(connection)
        self._experiments = generated.ExperimentServiceApi(connection.client)
        self._pipelines = generated.PipelineServiceApi(connection.client)
        self._upload = generated.PipelineUploadServiceApi(connection.client)
        self._runs = generated.RunServiceApi(connection.client)

    def health(self) -> dict[str, Any]:
        """Return the API's description of itself.

        The web interface forwards all other calls to the API but answers this one itself, which shows whether the pages
        of runs are at the same address.

        Returns:
            The answer, in which `tag_name` is the version and `ui` the address of the web interface, empty if unknown.

        Raises:
            ClusterAway: Nothing answers within a few seconds.
            ClusterError: The server that answers is not Kubeflow Pipelines.
        """
        answer = self._server.get("report its health", "/apis/v2beta1/healthz", calls.CHECK_S)
        where = self.connection.where
        if isinstance(answer, dict) and answer.get("apiServerReady") is False:
            raise ClusterAway(
                f"the web interface of Kubeflow Pipelines at {where} cannot reach its API; "
                f"check that {SERVICE} runs, and try again"
            )
        if not isinstance(answer, dict) or "multi_user" not in answer:
            raise ClusterError(
                f"the server at {where} answers with a page and is not Kubeflow Pipelines; "
                f"{self.connection.absent}; {self.connection.rejected}"
            )
        ui = self.connection.ui or (self.connection.client.configuration.host if "apiServerReady" in answer else "")
        return {**answer, "tag_name": answer.get("tag_name") or answer.get("apiServerTagName", ""), "ui": ui}

    def experiment(self, name: str, namespace: str) -> str:
        """Return the ID of the experiment with this name, which is created if it does not exist."""
        from kfp_server_api import V2beta1Experiment

        listed = self._server.call(
            "list experiments",
            self._experiments.experiment_service_list_experiments,
            filter=_named(name),
            **_in(namespace),
        )
        if listed.experiments:
            return str(listed.experiments[0].experiment_id)
        body = V2beta1Experiment(display_name=name, namespace=namespace or None)
        made: V2beta1Experiment = self._server.call(
            f"create experiment {name!r}", self._experiments.experiment_service_create_experiment, body
        )
        return str(made.experiment_id)

    def version(self, package: Package, namespace: str) -> Version:
        """Return the version of a compiled pipeline, which is uploaded unless the same file already was."""
        from kfp_server_api import V2beta1Pipeline

        pipeline = self._pipeline(package.name, namespace)
        if pipeline is None:
            body = V2beta1Pipeline(
                name=package.name,
                display_name=package.name,
                description=package.description,
                namespace=namespace or None,
            )
            pipeline = self._made(
                f"create pipeline {package.name!r}",
                lambda: self._pipeline(package.name, namespace),
                self._pipelines.pipeline_service_create_pipeline,
                body,
            )
        pipeline_id = str(pipeline.pipeline_id)
        if found := self._version(pipeline_id, package.version):
            return Version(pipeline_id, str(found.pipeline_version_id), uploaded=False)
        made = self._made(
            f"upload pipeline {package.name!r}",
            lambda: self._version(pipeline_id, package.version),
            self._upload.upload_pipeline_version,
            str(package.path),
            name=package.version,
            display_name=package.version,
            pipelineid=pipeline_id,
        )
        return Version(pipeline_id, str(made.pipeline_version_id), uploaded=True)

    def _pipeline(self, name: str, namespace: str) -> V2beta1Pipeline | None:
        listed = self._server.call(
            "list pipelines",
            self._pipelines.pipeline_service_list_pipelines,
            filter=_named(name, "name"),
            **_in(namespace),
        )
        return listed.pipelines[0] if listed.pipelines else None

    def _version(self, pipeline_id: str, name: str) -> V2beta1PipelineVersion | None:
        listing, chosen = self._pipelines.pipeline_service_list_pipeline_versions, _named(name, "name")
        listed = self._server.call("list pipeline versions", listing, pipeline_id, filter=chosen)
        return listed.pipeline_versions[0] if listed.pipeline_versions else None

    def _made(self, what: str, find: Callable[[], Any], make: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Create a resource, or find it if another submission created it in the meantime or the answer was lost."""
        try:
            return self._server.call(what, make, *args, **options)
        except ClusterError:
            if found := find():
                return found
            raise

    def active_run(self, name: str, namespace: str) -> V2beta1Run | None:
        """Return the newest submission of a federated run that is in progress.

        Its name in Kubeflow does not matter: a clone has a different one.
        """
        predicate = {"operation": "IN", "key": "state", "stringValues": {"values": UNDER_WAY}}
        options = {
            "filter": json.dumps({"predicates": [predicate]}),
            "sort_by": "created_at desc",
            "page_size": 100,
            **_in(namespace),
        }
        listed = self._server.call("list runs", self._runs.run_service_list_runs, **options)
        return next((run for run in listed.runs or [] if parameters_of(run).get("run") == name), None)

    def create_run(
        self, name: str, experiment_id: str, namespace: str, version: Version, parameters: dict[str, Any]
    ) -> V2beta1Run:
        """Create a run of an uploaded pipeline, or find the one that was created when the answer was lost."""
        from kfp_server_api import V2beta1PipelineVersionReference, V2beta1Run, V2beta1RuntimeConfig

        body = V2beta1Run(
            display_name=name,
            experiment_id=experiment_id,
            pipeline_version_reference=V2beta1PipelineVersionReference(
                pipeline_id=version.pipeline_id, pipeline_version_id=version.version_id
            ),
            runtime_config=V2beta1RuntimeConfig(parameters=parameters),
        )

        def once() -> V2beta1Run:
            find, make = lambda: self.active_run(name, namespace), self._runs.run_service_create_run
            created: V2beta1Run = self._made(f"create run {name!r}", find, make, body, patience_s=0.0)
            return created

        return calls.patiently(once, calls.PATIENCE_S)

    def run(self, run_id: str) -> V2beta1Run:
        """Return a run with its tasks.

        Raises:
            ClusterError: The run was deleted, or the API does not answer for minutes.
        """
        try:
            found: V2beta1Run = self._server.call(f"get run {run_id}", self._runs.run_service_get_run, run_id)
        except ClusterError as error:
            if calls.code(error) == GONE:
                raise ClusterError(
                    f"submission {run_id} was deleted, which also stopped its pods; "
                    "submit the same run again to continue it"
                ) from error
            raise
        return found

    def nodes(self, run_id: str) -> list[tuple[str, str]]:
        """Return (task, state) of every node of a run's workflow; empty if the API does not return the workflow.

        The run's own list of tasks is no longer updated once Argo compresses the nodes, after a round or two.
        """
        return nodes_of(self._workflow(run_id))

    def quiet_s(self, run_id: str) -> float:
        """Return the seconds since a node of a run's workflow last started or ended; 0 if they are not known."""
        changed = last_change(self._workflow(run_id))
        return max(0.0, (datetime.now(UTC) - changed).total_seconds()) if changed else 0.0

    def _workflow(self, run_id: str) -> str:
        """Return the last copy of a run's workflow that Kubeflow has; it outlives the workflow itself."""
        try:
            answer = self._server.get(f"get the workflow of run {run_id}", f"/apis/v1beta1/runs/{run_id}")
        except ClusterAway:
            raise
        except ClusterError:
            return ""
        return str(answer.get("pipeline_runtime", {}).get("workflow_manifest", "")) if isinstance(answer, dict) else ""

    def retire(self, run_id: str) -> None:
        """Terminate a run and archive it.

        If the run has no workflow, the API can answer the termination with 500 although it succeeds.

        Raises:
            ClusterError: The run is still in progress.
        """
        try:
            self._server.call(f"terminate run {run_id}", self._runs.run_service_terminate_run, run_id, patience_s=0.0)
        except ClusterAway:
            if self.run(run_id).state in UNDER_WAY:
                raise
        self._server.call(f"archive run {run_id}", self._runs.run_service_archive_run, run_id)


def parameters_of(run: V2beta1Run) -> dict[str, Any]:
    """Return the form values of a run."""
    return (run.runtime_config.parameters if run.runtime_config else None) or {}


def _named(name: str, key: str = "display_name") -> str:
    """Return the API's filter for an exact name.

    Pipelines and versions have a unique `name` in addition to their `display_name`.
    """
    return json.dumps({"predicates": [{"operation": "EQUALS", "key": key, "stringValue": name}]})


def _in(namespace: str) -> dict[str, Any]:
    """Return the namespace as an option of a call; no option if Kubeflow has no profiles."""
    return {"namespace": namespace} if namespace else {}
