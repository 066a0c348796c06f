"""Manifests of published versions, for tests that care for some of their fields."""

from fedstream.record.versions import VersionManifest


def version_manifest(**changes) -> VersionManifest:
    fields = {
        "model": "mine",
        "version": 1,
        "run": "r",
        "round": 1,
        "metrics": {},
        "files": {},
        "code_version": "0.1.0",
    }
    digests = {"commit": "c" * 64, "head": "d" * 64, "weights_digest": "e" * 64}
    return VersionManifest(**fields | digests | changes)
