"""Register published versions in Kubeflow Model Registry through its REST API (docs/decisions.md explains why).

A version is registered only once, however often publish runs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import urllib3

from fedstream.errors import RegistryError
from fedstream.record.versions import VersionManifest
from fedstream.settings import RegistrySettings

API = "/api/model_registry/v1alpha3"
TIMEOUT_S = 10.0
"""Seconds to connect and to wait for an answer."""

TRIES = urllib3.Retry(
    total=4,
    allowed_methods=None,
    status_forcelist=(429, 500, 502, 503, 504),
    backoff_factor=0.2,
    redirect=0,
    raise_on_redirect=False,
    raise_on_status=False,
)
"""A POST can be retried too: an existing resource causes a conflict and is then looked up."""

LONGEST = 200
"""Maximum number of characters of an answer in an error."""


class ModelRegistry:
    """A client of a model registry, which connects only when it is used.

    Args:
        settings: Settings of the registry.
        timeout_s: Seconds to connect and to wait for an answer.
    """

    def __init__(self, settings: RegistrySettings, timeout_s: float = TIMEOUT_S) -> None:
        self._settings = settings
        self._http = urllib3.PoolManager(
            timeout=urllib3.Timeout(timeout_s), retries=TRIES, ca_certs=settings.ca_file or None
        )

    def register(self, manifest: VersionManifest, digest: str, uri: str) -> str:
        """Register a model, its published version, and the location of its files, unless they are already registered.

        The version and its artifact are identified by the manifest's digest, so that a retry continues where another
        attempt stopped, and concurrent attempts agree.

        Args:
            manifest: Manifest of the version.
            digest: SHA-256 of the manifest's bytes.
            uri: URI of the SavedModel.

        Returns:
            The ID of the version in the registry.

        Raises:
            RegistryError: The registry does not answer, rejects the request, or has another version of that name.
        """
        name, number = manifest.model, manifest.version
        identity = {"externalId": f"fedstream:{digest}"}
        lineage = f"round {manifest.round} of run {manifest.run}"
        model = self._ensure(
            "registered_model", {"name": name}, "registered_models", {"description": "Trained with fedstream."}
        )
        said = {"author": "fedstream", "description": lineage, "customProperties": _properties(manifest)}
        version = self._ensure(
            "model_version",
            identity,
            f"registered_models/{model}/versions",
            {"name": str(number), "registeredModelId": model} | said,
        )
        files = {
            "artifactType": "model-artifact",
            "uri": uri,
            "modelFormatName": "tensorflow",
            "modelFormatVersion": "2",
        }
        self._ensure(
            "model_artifact",
            identity,
            f"model_versions/{version}/artifacts",
            {"name": f"{name}-{number}", "description": lineage} | files,
        )
        return version

    def _ensure(self, kind: str, identity: dict[str, str], collection: str, body: dict[str, Any]) -> str:
        """Return the ID of the resource with this identity, which is created if it does not exist."""
        if found := self._find(kind, identity):
            return found
        status, answer = self._call("POST", collection, body=identity | body)
        if status == 409:  # another attempt was faster, or the first try of this one did succeed
            if found := self._find(kind, identity):
                return found
            raise self._error(
                f"has another {kind.replace('_', ' ')} named {body.get('name')!r}",
                "archive or rename that one, then publish again",
            )
        return self._id(answer)

    def _find(self, kind: str, identity: dict[str, str]) -> str:
        status, answer = self._call("GET", kind, fields=identity)
        return "" if status == 404 else self._id(answer)

    def _call(
        self, method: str, path: str, body: dict[str, Any] | None = None, fields: dict[str, str] | None = None
    ) -> tuple[int, Any]:
        """Return the status and JSON of an expected answer: 200, 201, 404 for a GET, 409 for a POST."""
        url = f"{self._settings.url}{API}/{path}"
        try:
            response = self._http.request(method, url, json=body, fields=fields, headers=self._credentials())
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise self._error(f"does not answer ({error})", "check MODEL_REGISTRY_URL and that it runs") from error
        said = response.data.decode("utf-8", "replace")[:LONGEST]
        if response.status in (401, 403):
            raise self._error(
                f"rejects the request (HTTP {response.status})",
                "check MODEL_REGISTRY_TOKEN_FILE, and that its account is allowed to write there",
            )
        if response.status not in (200, 201, 404 if method == "GET" else 409):
            raise self._error(
                f"answers {method} {path} with HTTP {response.status}: {said}",
                "check MODEL_REGISTRY_URL and the registry's log",
            )
        try:
            return response.status, json.loads(response.data)
        except ValueError as error:
            raise self._error(
                f"answers {method} {path} with text that is not JSON: {said}", "check MODEL_REGISTRY_URL"
            ) from error

    def _credentials(self) -> dict[str, str]:
        """Read the token for each request, because Kubernetes replaces it in its file."""
        if not (path := self._settings.token_file):
            return {}
        try:
            return {"Authorization": f"Bearer {Path(path).read_text(encoding='utf-8').strip()}"}
        except (OSError, ValueError) as error:
            raise self._error(
                f"needs a token, but {path!r} cannot be read ({error})", "check MODEL_REGISTRY_TOKEN_FILE"
            ) from error

    def _id(self, answer: Any) -> str:
        found = answer.get("id") if isinstance(answer, dict) else None
        if not isinstance(found, str) or not found.isdigit():
            raise self._error(f"returns no ID: {json.dumps(answer)[:LONGEST]}", "check MODEL_REGISTRY_URL")
        return found

    def _error(self, what: str, advice: str) -> RegistryError:
        return RegistryError(
            f"the model registry at {self._settings.url} {what}; {advice}. The version is published in the "
            "store; run publish again to register it"
        )


def _properties(manifest: VersionManifest) -> dict[str, dict[str, Any]]:
    """Return the lineage and the metrics as custom properties of the registry."""
    lineage = ("run", "commit", "head", "weights_digest", "code_version")
    texts = {name: {"metadataType": "MetadataStringValue", "string_value": getattr(manifest, name)} for name in lineage}
    metrics = {
        name: {"metadataType": "MetadataDoubleValue", "double_value": value} for name, value in manifest.metrics.items()
    }
    return texts | metrics | {"round": {"metadataType": "MetadataIntValue", "int_value": str(manifest.round)}}
