"""Kubeflow Model Registry, by its REST API (docs/decisions.md says why): a published version is written there once, however often publish runs."""

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
"""Seconds to connect, and to wait for an answer."""

TRIES = urllib3.Retry(
    total=4,
    allowed_methods=None,
    status_forcelist=(429, 500, 502, 503, 504),
    backoff_factor=0.2,
    redirect=0,
    raise_on_redirect=False,
    raise_on_status=False,
)
"""A POST may be tried again too: what is there already is a conflict, and is looked up."""

LONGEST = 200
"""Characters of an answer that an error quotes."""


class ModelRegistry:
    """A registry. Connects only when used.

    Args:
        settings: where it is.
        timeout_s: seconds to connect, and to wait for an answer.
    """

    def __init__(self, settings: RegistrySettings, timeout_s: float = TIMEOUT_S) -> None:
        self._settings = settings
        self._http = urllib3.PoolManager(timeout=urllib3.Timeout(timeout_s), retries=TRIES, ca_certs=settings.ca_file or None)

    def register(self, manifest: VersionManifest, digest: str, uri: str) -> str:
        """Register a published version: its model, the version, and where its files are. Found there already is a success.

        The version and its artifact are found by the manifest's digest, so a retry goes on where another attempt stopped, and two at once agree.

        Args:
            manifest: the version's manifest.
            digest: SHA-256 of the manifest's bytes.
            uri: where the SavedModel is.

        Returns:
            The version's id in the registry.

        Raises:
            RegistryError: the registry does not answer, refuses, or has another version of that name.
        """
        name, number = manifest.model, manifest.version
        identity = {"externalId": f"fedstream:{digest}"}
        lineage = f"round {manifest.round} of run {manifest.run}"
        model = self._ensure("registered_model", {"name": name}, "registered_models", {"description": "Trained with fedstream."})
        said = {"author": "fedstream", "description": lineage, "customProperties": _properties(manifest)}
        version = self._ensure(
            "model_version", identity, f"registered_models/{model}/versions", {"name": str(number), "registeredModelId": model} | said
        )
        files = {"artifactType": "model-artifact", "uri": uri, "modelFormatName": "tensorflow", "modelFormatVersion": "2"}
        self._ensure("model_artifact", identity, f"model_versions/{version}/artifacts", {"name": f"{name}-{number}", "description": lineage} | files)
        return version

    def _ensure(self, kind: str, identity: dict[str, str], collection: str, body: dict[str, Any]) -> str:
        """Return the id of what has this identity, which is made unless it is there."""
        if found := self._find(kind, identity):
            return found
        status, answer = self._call("POST", collection, body=identity | body)
        if status == 409:  # another attempt was faster, or this one's first try arrived after all
            if found := self._find(kind, identity):
                return found
            raise self._error(f"has another {kind.replace('_', ' ')} named {body.get('name')!r}", "archive or rename that one, then publish again")
        return self._id(answer)

    def _find(self, kind: str, identity: dict[str, str]) -> str:
        status, answer = self._call("GET", kind, fields=identity)
        return "" if status == 404 else self._id(answer)

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None, fields: dict[str, str] | None = None) -> tuple[int, Any]:
        """Return status and JSON of an answer that means something here: 200, 201, 404 to a GET, 409 to a POST."""
        url = f"{self._settings.url}{API}/{path}"
        try:
            response = self._http.request(method, url, json=body, fields=fields, headers=self._credentials())
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise self._error(f"does not answer ({error})", "check MODEL_REGISTRY_URL and that it runs") from error
        said = response.data.decode("utf-8", "replace")[:LONGEST]
        if response.status in (401, 403):
            raise self._error(f"refuses us (HTTP {response.status})", "check MODEL_REGISTRY_TOKEN_FILE, and that its account may write there")
        if response.status not in (200, 201, 404 if method == "GET" else 409):
            raise self._error(f"answers {method} {path} with HTTP {response.status}: {said}", "check MODEL_REGISTRY_URL and the registry's log")
        try:
            return response.status, json.loads(response.data)
        except ValueError as error:
            raise self._error(f"answers {method} {path} with what is no JSON: {said}", "check MODEL_REGISTRY_URL") from error

    def _credentials(self) -> dict[str, str]:
        """Read the token anew, since Kubernetes replaces it in its file."""
        if not (path := self._settings.token_file):
            return {}
        try:
            return {"Authorization": f"Bearer {Path(path).read_text(encoding='utf-8').strip()}"}
        except (OSError, ValueError) as error:
            raise self._error(f"wants a token, and {path!r} cannot be read ({error})", "check MODEL_REGISTRY_TOKEN_FILE") from error

    def _id(self, answer: Any) -> str:
        found = answer.get("id") if isinstance(answer, dict) else None
        if not isinstance(found, str) or not found.isdigit():
            raise self._error(f"gives no id: {json.dumps(answer)[:LONGEST]}", "check MODEL_REGISTRY_URL")
        return found

    def _error(self, what: str, advice: str) -> RegistryError:
        return RegistryError(
            f"the model registry at {self._settings.url} {what}; {advice}. The version is published in the store; running publish again registers it"
        )


def _properties(manifest: VersionManifest) -> dict[str, dict[str, Any]]:
    """Return lineage and metrics as the registry's custom properties."""
    lineage = ("run", "commit", "head", "weights_digest", "code_version")
    texts = {name: {"metadataType": "MetadataStringValue", "string_value": getattr(manifest, name)} for name in lineage}
    metrics = {name: {"metadataType": "MetadataDoubleValue", "double_value": value} for name, value in manifest.metrics.items()}
    return texts | metrics | {"round": {"metadataType": "MetadataIntValue", "int_value": str(manifest.round)}}
