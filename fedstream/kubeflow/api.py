"""The calls of the Kubeflow Pipelines API that a submission needs.

Each call has a timeout, is retried while a retry can help, and reports errors in one line.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_exponential_jitter

from fedstream.errors import ClusterAway, ClusterError
from fedstream.kubeflow.connection import SERVICE, Connection
from fedstream.kubeflow.kube import TIMEOUT, message_of, reason_of
from fedstream.kubeflow.package import Package
from fedstream.kubeflow.progress import last_change, nodes_of

if TYPE_CHECKING:
    from kfp_server_api import ApiException, V2beta1Experiment, V2beta1Pipeline, V2beta1PipelineVersion, V2beta1Run

T = TypeVar("T")

CHECK_S = 5.0
"""Seconds to retry the first call: a person is waiting."""

PATIENCE_S = 120.0
"""Seconds to retry later calls: the API's pod can move to another node while a run is followed."""

NOT_FOUND, TOO_MANY = 404, 429

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
        answer, where = (
            self._call("report its health", self._get, "/apis/v2beta1/healthz", patience_s=CHECK_S),
            self.connection.where,
        )
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

    def _get(self, path: str, _request_timeout: tuple[int, int]) -> Any:
        headers = {"Accept": "application/json"}
        client = self.connection.client
        return client.call_api(
            path,
            "GET",
            {},
            [],
            headers,
            response_type="object",
            auth_settings=["Bearer"],
            _return_http_data_only=True,
            _request_timeout=_request_timeout,
        )

    def experiment(self, name: str, namespace: str) -> str:
        """Return the ID of the experiment with this name, which is created if it does not exist."""
        from kfp_server_api import V2beta1Experiment

        listed = self._call(
            "list experiments",
            self._experiments.experiment_service_list_experiments,
            filter=_named(name),
            **_in(namespace),
        )
        if listed.experiments:
            return str(listed.experiments[0].experiment_id)
        body = V2beta1Experiment(display_name=name, namespace=namespace or None)
        made: V2beta1Experiment = self._call(
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
        listed = self._call(
            "list pipelines",
            self._pipelines.pipeline_service_list_pipelines,
            filter=_named(name, "name"),
            **_in(namespace),
        )
        return listed.pipelines[0] if listed.pipelines else None

    def _version(self, pipeline_id: str, name: str) -> V2beta1PipelineVersion | None:
        listing, chosen = self._pipelines.pipeline_service_list_pipeline_versions, _named(name, "name")
        listed = self._call("list pipeline versions", listing, pipeline_id, filter=chosen)
        return listed.pipeline_versions[0] if listed.pipeline_versions else None

    def _made(self, what: str, find: Callable[[], Any], make: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Create a resource, or find it if another submission created it in the meantime or the answer was lost."""
        try:
            return self._call(what, make, *args, **options)
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
        listed = self._call("list runs", self._runs.run_service_list_runs, **options)
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

        return _patiently(once, PATIENCE_S)

    def run(self, run_id: str) -> V2beta1Run:
        """Return a run with its tasks.

        Raises:
            ClusterError: The run was deleted, or the API does not answer for minutes.
        """
        try:
            found: V2beta1Run = self._call(f"get run {run_id}", self._runs.run_service_get_run, run_id)
        except ClusterError as error:
            if _code(error) == GONE:
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
            answer = self._call(f"get the workflow of run {run_id}", self._get, f"/apis/v1beta1/runs/{run_id}")
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
            self._call(f"terminate run {run_id}", self._runs.run_service_terminate_run, run_id, patience_s=0.0)
        except ClusterAway:
            if self.run(run_id).state in UNDER_WAY:
                raise
        self._call(f"archive run {run_id}", self._runs.run_service_archive_run, run_id)

    def _call(
        self, what: str, call: Callable[..., Any], *args: Any, patience_s: float | None = None, **options: Any
    ) -> Any:
        """Call the API, and retry for `patience_s` while it does not answer; a definite answer is not retried."""
        import urllib3
        from kfp_server_api import ApiException

        def once() -> Any:
            try:
                return call(*args, **options, _request_timeout=TIMEOUT)
            except ApiException as error:
                raise self._refused(what, error) from error
            except (urllib3.exceptions.HTTPError, OSError) as error:
                raise ClusterAway(
                    f"Kubeflow Pipelines at {self.connection.where} does not answer ({reason_of(error)}) when "
                    f"asked to {what}; "
                    f"check that it runs, and {self.connection.absent}"
                ) from error

        return _patiently(once, PATIENCE_S if patience_s is None else patience_s)

    def _refused(self, what: str, error: ApiException) -> ClusterError:
        """Explain why the API rejected a request."""
        connection, status = self.connection, error.status or 0
        said = message_of(error.body) or " ".join(str(error.reason or "").split())
        where = f"Kubeflow Pipelines at {connection.where}"
        if not status:
            return ClusterError(
                f"the certificate of {where} cannot be verified ({said}); pass its certificate authority's file "
                "with --ca-file"
            )
        if status in (401, 403) or 300 <= status < 400:
            return ClusterError(
                f"{where} does not allow this caller to {what} (HTTP {status}: {said}); {connection.rejected}, "
                "and check --namespace"
            )
        if status >= 500 or status == TOO_MANY:
            return ClusterAway(
                f"{where} failed to {what} (HTTP {status}: {said}); {connection.absent}, or try again later: "
                "a run that has started continues"
            )
        if status == NOT_FOUND:
            return ClusterError(
                f"{where} does not exist or has no such resource (HTTP 404 when asked to {what}: {said}); "
                f"{connection.absent}"
            )
        return ClusterError(
            f"{where} refuses to {what} (HTTP {status}): {said}; correct that value and submit the run again"
        )


def _code(error: ClusterError) -> int:
    """Return the API's own error code; 0 if the answer did not come from the API."""
    try:
        return int(json.loads(getattr(error.__cause__, "body", ""))["code"])
    except (ValueError, TypeError, KeyError):
        return 0


def parameters_of(run: V2beta1Run) -> dict[str, Any]:
    """Return the form values of a run."""
    return (run.runtime_config.parameters if run.runtime_config else None) or {}


def _patiently(call: Callable[[], T], patience_s: float) -> T:
    """Retry a call for `patience_s` while nothing answers."""
    wait = wait_exponential_jitter(multiplier=0.1, max=5.0, jitter=0.5)
    return Retrying(
        stop=stop_after_delay(patience_s), wait=wait, retry=retry_if_exception_type(ClusterAway), reraise=True
    )(call)


def _named(name: str, key: str = "display_name") -> str:
    """Return the API's filter for an exact name.

    Pipelines and versions have a unique `name` in addition to their `display_name`.
    """
    return json.dumps({"predicates": [{"operation": "EQUALS", "key": key, "stringValue": name}]})


def _in(namespace: str) -> dict[str, Any]:
    """Return the namespace as an option of a call; no option if Kubeflow has no profiles."""
    return {"namespace": namespace} if namespace else {}
