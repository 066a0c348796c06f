"""Call the Kubeflow Pipelines API: with a timeout, again while that can help, and with errors of one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_exponential_jitter

from fedstream.errors import ClusterAway, ClusterError
from fedstream.kubeflow.connection import Connection
from fedstream.kubeflow.kube import TIMEOUT, message_of, reason_of

if TYPE_CHECKING:
    from kfp_server_api import ApiException

T = TypeVar("T")

CHECK_S = 5.0
"""Seconds to retry the first call: a person is waiting."""

PATIENCE_S = 120.0
"""Seconds to retry later calls: the API's pod can move to another node while a run is followed."""

NOT_FOUND, TOO_MANY = 404, 429


class Server:
    """An API server.

    Args:
        connection: Connection to the server.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def call(
        self, what: str, call: Callable[..., Any], *args: Any, patience_s: float | None = None, **options: Any
    ) -> Any:
        """Call the API, and retry while it does not answer; a definite answer is not retried.

        Args:
            what: What the call is meant to do, for errors.
            call: A method of the generated client.
            args: Arguments of the call.
            patience_s: Seconds to retry; None for PATIENCE_S.
            options: Keyword arguments of the call.

        Raises:
            ClusterAway: The API does not answer, or fails.
            ClusterError: The API rejects the request.
        """
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

        return patiently(once, PATIENCE_S if patience_s is None else patience_s)

    def get(self, what: str, path: str, patience_s: float | None = None) -> Any:
        """Return the JSON document at a path for which the generated client has no method; see `call`."""
        return self.call(what, self._get, path, patience_s=patience_s)

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


def code(error: ClusterError) -> int:
    """Return the API's own error code; 0 if the answer did not come from the API."""
    try:
        return int(json.loads(getattr(error.__cause__, "body", ""))["code"])
    except (ValueError, TypeError, KeyError):
        return 0


def patiently(call: Callable[[], T], patience_s: float) -> T:
    """Retry a call for `patience_s` while nothing answers."""
    wait = wait_exponential_jitter(multiplier=0.1, max=5.0, jitter=0.5)
    return Retrying(
        stop=stop_after_delay(patience_s), wait=wait, retry=retry_if_exception_type(ClusterAway), reraise=True
    )(call)
