"""Recorded runs in memory, where an attacker with the bucket's keys can do as he likes."""

import json
from datetime import UTC, datetime
from pathlib import Path

from fedstream.errors import ObjectConflict, ObjectNotFound
from fedstream.record.canonical import canonical_json, sha256_hex
from fedstream.settings import StoreSettings
from fedstream.store.objects import ObjectStore
from fedstream.store.store import ObjectInfo

FOLDER = Path(__file__).parents[1] / "recorded"
RUN, MODEL = "recorded", "triage"
WRITTEN = datetime(2026, 1, 1, tzinfo=UTC)


class RecordedStore(ObjectStore):
    """The objects of a recorded run, in memory."""

    def __init__(self, name):
        super().__init__(StoreSettings("http://127.0.0.1:1", "key", "secret"))
        root = FOLDER / name
        self.objects = {
            path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()
        }

    def get_with_etag(self, key, limit=None):
        if key not in self.objects:
            raise ObjectNotFound(f"there is no object {key!r}")
        return self.objects[key], sha256_hex(self.objects[key])

    def digest(self, key):
        return sha256_hex(self.get(key))

    def download(self, key, digest, path, limit):
        path.write_bytes(self.get_verified(key, digest))

    def exists(self, key):
        return key in self.objects

    def list(self, prefix):
        return [
            ObjectInfo(key, len(data), WRITTEN) for key, data in sorted(self.objects.items()) if key.startswith(prefix)
        ]

    def put_new(self, key, data):
        if self.objects.setdefault(key, data) != data:
            raise ObjectConflict(f"{key} is on record with other bytes")
        return sha256_hex(data)

    def edit(self, key, change):
        """Change a document, and keep it canonical."""
        document = json.loads(self.objects[key])
        changed = change(document)
        self.objects[key] = canonical_json(document if changed is None else changed)

    def remove_below(self, *prefixes):
        for key in [key for key in self.objects if key.startswith(prefixes)]:
            del self.objects[key]

    def key(self, round, name):
        return f"runs/{RUN}/rounds/{round:04d}/{name}"

    def keep_rounds(self, last):
        """Forget the rounds after one, and what was published."""
        self.remove_below(f"models/{MODEL}/versions/", f"models/{MODEL}/latest")
        rounds = [key.split("/")[3] for key in self.objects if key.startswith(f"runs/{RUN}/rounds/")]
        self.remove_below(*(f"runs/{RUN}/rounds/{number}/" for number in set(rounds) if int(number) > last))

    def copy_to(self, store):
        """Put the objects into a real store."""
        for key, data in self.objects.items():
            store.put_new(key, data)
