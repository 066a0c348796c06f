"""Attackers, by what they may write: the bucket with a step's keys, one client's objects, or a topic."""

import json

import pytest
from support.recorded import RUN, RecordedStore

from fedstream.aggregation.fedavg import federated_average
from fedstream.audit import verify_run
from fedstream.record.canonical import sha256_hex
from fedstream.record.weights import from_bytes, to_bytes


@pytest.fixture
def federated():
    """A run of three clients with federated evaluation, a refusal and a rollback."""
    return RecordedStore("federated")


@pytest.fixture
def evaluated():
    """A run of three clients with an evaluation topic."""
    return RecordedStore("evaluated")


class Forger:
    """Whoever has the bucket's keys: changes the last round of a run, and makes every digest and the average fit."""

    def __init__(self, store, last=1):
        self.store, self.last = store, last
        store.keep_rounds(last)

    def key(self, name):
        return self.store.key(self.last, name)

    def verdicts(self, change):
        """Forge verdicts.json, then the global model and the commit that follow from it."""
        self.store.edit(self.key("verdicts.json"), change)
        self.fit()

    def manifest(self, client, change, update=None):
        """Forge a client's manifest, and its update, and a verdict that accepts it."""
        key = self.key(f"updates/{client}.json")
        self.store.edit(key, change)
        if update is not None:
            digest = sha256_hex(update)
            self.store.objects[self.key(f"updates/{client}-{digest}.safetensors")] = update
            self.store.edit(key, lambda manifest: manifest.update(update_digest=digest))
        manifest = self.read(f"updates/{client}.json")

        def accept(verdicts):
            for verdict in verdicts["verdicts"]:
                if verdict["client"] == client:
                    verdict.update(accepted=True, reason="valid", manifest_digest=sha256_hex(self.store.objects[key]))
                    verdict.update(num_examples=manifest["num_examples"], update_digest=manifest["update_digest"])

        self.verdicts(accept)

    def slice(self, client, change):
        """Forge a client's slice, and a manifest that fits."""
        key = self.key(f"slices/{client}.json")
        self.store.edit(key, change)
        document = self.read(f"slices/{client}.json")
        fits = {"slice_digest": document["digest"], "slice_document": sha256_hex(self.store.objects[key])}
        self.manifest(client, lambda manifest: manifest.update(fits))

    def fit(self):
        """Aggregate what the verdicts accept, and rewrite the commit."""
        verdicts = self.read("verdicts.json")["verdicts"]
        accepted = [(v["num_examples"], self.update(v)) for v in verdicts if v["accepted"]]
        new = to_bytes(federated_average(accepted))
        self.store.objects[self.key("global.safetensors")] = new
        entries = {entry["client"]: entry for entry in self.read("commit.json")["clients"]}
        clients = [self.entry(verdict, entries.get(verdict["client"])) for verdict in verdicts]
        digests = {
            "weights_digest": sha256_hex(new),
            "verdicts_digest": sha256_hex(self.store.objects[self.key("verdicts.json")]),
        }
        self.store.edit(self.key("commit.json"), lambda commit: commit.update(digests, clients=clients))

    def update(self, verdict):
        key = self.key(f"updates/{verdict['client']}-{verdict['update_digest']}.safetensors")
        return from_bytes(self.store.objects[key], key)

    def entry(self, verdict, entry):
        entry = entry or {"slice_digest": None, "slice_document": None, "ranges": [], "incoming": None, "trained": None}
        said = {
            name: verdict[name]
            for name in ("client", "accepted", "reason", "num_examples", "update_digest", "manifest_digest")
        }
        if not self.store.exists(self.key(f"updates/{verdict['client']}.json")):
            return entry | said
        manifest, document = (
            self.read(f"updates/{verdict['client']}.json"),
            self.read(f"slices/{verdict['client']}.json"),
        )
        return (
            entry
            | said
            | {
                "incoming": manifest["incoming"] if verdict["accepted"] else None,
                "trained": manifest["trained"] if verdict["accepted"] else None,
                "slice_digest": document["digest"],
                "slice_document": sha256_hex(self.store.objects[self.key(f"slices/{verdict['client']}.json")]),
                "ranges": document["ranges"],
            }
        )

    def read(self, name):
        return json.loads(self.store.objects[self.key(name)])

    def found(self):
        """Return what verify says: key below the round, or whole key -> what."""
        prefix, found = self.store.key(self.last, ""), {}
        for problem in verify_run(self.store, RUN).problems:
            found.setdefault(problem.key.removeprefix(prefix), []).append(problem.what)
        return {key: "; ".join(what) for key, what in found.items()}


def forge(store, key, change):
    """Change a document, and put the new digest into every document that names the old one, and so on:
    the whole chain fits again.
    """
    old = store.objects[key]
    store.edit(key, change)
    changed = [(sha256_hex(old), sha256_hex(store.objects[key]))]
    for before, after in changed:
        for other, data in store.objects.items():
            if other.endswith(".json") and before.encode() in data:
                store.objects[other] = data.replace(before.encode(), after.encode())
                changed.append((sha256_hex(data), sha256_hex(store.objects[other])))


@pytest.fixture
def forger(federated):
    return Forger(federated)


@pytest.fixture
def forger_of():
    return Forger


@pytest.fixture(name="forge")
def forge_fixture():
    return forge
