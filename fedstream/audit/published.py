"""Check what was published from a run: the manifests, which confirm commits, and the files."""

from __future__ import annotations

from fedstream.audit.evidence import Evidence, Link
from fedstream.errors import CorruptObject, ObjectNotFound
from fedstream.record.canonical import parse_json
from fedstream.record.commit import Commit
from fedstream.record.layout import ModelKeys
from fedstream.record.reading import DOCUMENT_BYTES
from fedstream.record.run import ModelReference
from fedstream.record.versions import LatestVersion, VersionManifest
from fedstream.store.store import ObjectInfo

MANIFEST = "manifest.json"

DEPTH = 100
"""Maximum nesting depth of a manifest, which has three levels."""


class PublishedVersions:
    """The versions of a model that were published from one run.

    Args:
        evidence: Collects the problems.
        run: Name of the run.
        model: Initial model of the run.
        chain: The run's spec and commits.
        listed: Objects of the model's versions, listed before the chain was read, because later versions can have
            commits that are not in the chain.

    Attributes:
        vouched: Keys of the manifests whose digest is in latest.json.
    """

    def __init__(
        self, evidence: Evidence, run: str, model: ModelReference, chain: list[Link], listed: list[ObjectInfo]
    ) -> None:
        self.evidence, self.run, self.model, self.chain = evidence, run, model, chain
        self.keys = ModelKeys(model.name)
        self.vouched: set[str] = set()
        self.manifests: dict[str, VersionManifest] = {}
        for info in listed:
            parts = info.key.removeprefix(self.keys.versions).split("/")
            if (
                parts[1:] == [MANIFEST]
                and self._is_own(info.key)
                and (manifest := evidence.document(VersionManifest, info.key))
            ):
                self.manifests[info.key] = manifest
        self._check_latest()

    @property
    def claims(self) -> dict[str, set[str]]:
        """Key of a manifest -> digests of the commits in it, for unchanged manifests only."""
        return {
            key: {manifest.commit, manifest.head}
            for key, manifest in self.manifests.items()
            if not self.evidence.accused(key)
        }

    def check(self, commits: list[Commit]) -> None:
        """Check the initial model, compare the manifests with the commits, and compare the files with the manifests."""
        initial = {
            "keras": self.model.keras_digest,
            "safetensors": self.model.weights_digest,
            "json": self.model.description_digest,
        }
        for suffix, digest in initial.items():
            self.evidence.has_digest(self.keys.initial(self.model.keras_digest, suffix), digest)
        for key, manifest in self.manifests.items():
            if not self.evidence.accused(key):
                self._check_manifest(key, manifest, commits)
                self._check_files(key, manifest)

    def _check_files(self, key: str, manifest: VersionManifest) -> None:
        """Check a version's files; unlisted ones are a problem because a model server would load them."""
        root = key.removesuffix(MANIFEST)
        for name, digest in manifest.files.items():
            self.evidence.has_digest(f"{root}{name}", digest)
        for info in self.evidence.store.list(root):
            if info.key.removeprefix(root) not in {MANIFEST, *manifest.files}:
                self.evidence.problem(info.key, f"is not a file of version {manifest.version}")

    def _check_manifest(self, key: str, manifest: VersionManifest, commits: list[Commit]) -> None:
        same = self.evidence.same
        same(key, "run", manifest.run, self.run)
        same(key, "model", manifest.model, self.model.name)
        same(key, "version", self.keys.version(manifest.version, "manifest.json"), key)
        if any(self.evidence.accused(link.key) for link in self.chain):
            return
        if manifest.round >= len(commits):
            self.evidence.problem(key, f"belongs to round {manifest.round}, which is not committed")
            return
        same(key, "commit", manifest.commit, self.chain[manifest.round + 1].digest)
        same(key, "weights_digest", manifest.weights_digest, commits[manifest.round].weights_digest)
        measured = [
            commit.metrics.values for commit in commits if commit.measured_round == manifest.round and commit.metrics
        ]
        same(key, "metrics", manifest.metrics, measured[0] if measured else {})

    def _check_latest(self) -> None:
        """Compare latest.json with the manifest it points to; if they differ, one of the two was changed."""
        if not self.evidence.store.exists(self.keys.latest):
            return
        latest = self.evidence.document(LatestVersion, self.keys.latest)
        if latest is None or self.evidence.accused(self.keys.latest):
            return
        key = self.keys.version(latest.version, "manifest.json")
        if not self.evidence.store.exists(key):
            self.evidence.problem(self.keys.latest, f"points to version {latest.version}, which has no manifest")
        elif self.evidence.digest(key) == latest.manifest:
            self.vouched.add(key)
        elif not self.evidence.accused(key):
            self.evidence.problem(
                key, f"digest is {self.evidence.digest(key)}, but {self.keys.latest} has {latest.manifest}"
            )
            self.evidence.problem(
                self.keys.latest, f"digest is {latest.manifest}, but {key} has {self.evidence.digest(key)}"
            )

    def _is_own(self, key: str) -> bool:
        """Return whether a manifest belongs to this run, even if the run's name in it was changed."""
        try:
            manifest = parse_json(self.evidence.store.get(key, DOCUMENT_BYTES), DEPTH)
        except ObjectNotFound:  # the version was removed after it was listed
            return False
        except CorruptObject as error:
            self.evidence.problem(key, str(error))
            return False
        except ValueError as error:
            self.evidence.problem(key, f"is not JSON ({error}); it was changed after it was written")
            return False
        said = manifest if isinstance(manifest, dict) else {}
        digests = [link.digest for link in self.chain]
        return said.get("run") == self.run or said.get("commit") in digests or said.get("head") in digests
