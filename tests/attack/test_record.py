"""Objects planted in, changed in or removed from a run's folder: verify names each, and whatever stands in them it never ends without a report."""

import json
import random

import pytest
from support.recorded import MODEL, RUN

from fedstream.audit import verify_run
from fedstream.record.canonical import canonical_json, sha256_hex

VERSION = f"models/{MODEL}/versions/1/"


def named(store, **options):
    return {problem.key: problem.what for problem in verify_run(store, RUN, **options).problems}


PLANTED = {
    f"runs/{RUN}/rounds/0001/server_state.safetensors": "is no object that the round's commit knows of",
    f"runs/{RUN}/rounds/0001/broadcast.safetensors": "is no object that the round's commit knows of",
    f"runs/{RUN}/rounds/0001/aggregation.json": "is no object that the round's commit knows of",
    f"runs/{RUN}/rounds/0000/server_state.safetensors": "is no object that the round's commit knows of",
    f"runs/{RUN}/rounds/0005/global.safetensors": "a closing round makes no model",
    f"runs/{RUN}/rounds/0001/updates/mallory.json": "of no client of the run",
    f"runs/{RUN}/rounds/0001/readme.txt": "is no object of a round",
    f"runs/{RUN}/rounds/0000/verdicts.json": "is no object of round 0",
    f"runs/{RUN}/rounds/0009/selection.json": "belongs to no round of the run",
    f"runs/{RUN}/rounds/00001/selection.json": "belongs to no round of the run",
    f"runs/{RUN}/notes/a.json": "belongs to no round of the run",
    f"{VERSION}saved_model/999/saved_model.pb": "is no file of version 1",
}


@pytest.mark.parametrize("key", PLANTED)
def test_a_planted_object(federated, key):
    federated.put_new(key, b"{}")
    found = named(federated)
    assert list(found) == [key]
    assert PLANTED[key] in found[key]


@pytest.mark.parametrize("part", ["rounds/0004/opened/", "/initial/", "latest.json", f"{VERSION}report.html", f"{VERSION}model_card.md"])
def test_a_changed_byte_in_what_no_commit_holds(federated, part):
    key = next(key for key in federated.objects if part in key and not key.endswith((".keras", ".safetensors")))
    data = federated.objects[key]
    wrong = []
    for position in random.Random(1).sample(range(len(data)), min(60, len(data))):
        federated.objects[key] = data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]
        if key not in named(federated):
            wrong.append(position)
    assert not wrong, [data[max(0, position - 20) : position + 20] for position in wrong]


def test_a_refusal_in_another_client_s_name(federated):
    key = f"runs/{RUN}/rounds/0002/refusals/attempt/c.json"
    federated.put_new(key, canonical_json({"client": "a", "step": "train", "reason": "no"}))
    assert named(federated) == {key: "is a refusal of 'a'"}


HOSTILE = {
    "a list for a digest": lambda document, name: document | {name: [1]},
    "a number": lambda document, name: document | {name: 7},
    "a huge number": lambda document, name: document | {name: 10**400},
    "a negative number": lambda document, name: document | {name: -1},
    "markup": lambda document, name: document | {name: "[/x][red]<script>alert(1)</script>"},
    "a path": lambda document, name: document | {name: "../../../etc/passwd"},
    "nothing": lambda document, name: {key: value for key, value in document.items() if key != name},
    "null": lambda document, name: document | {name: None},
    "an empty list": lambda document, name: document | {name: []},
    "an object": lambda document, name: document | {name: {"a": {"b": 1}}},
    "half a character": lambda document, name: document | {name: "\\ud800"},
}


def test_fuzzed_documents_are_findings(federated, evaluated):
    for store in (federated, evaluated):
        for key, data in list(store.objects.items()):
            if not key.endswith(".json") or "/added/" in key:
                continue
            document = json.loads(data)
            for name in document:
                for fault, change in HOSTILE.items():
                    store.objects[key] = json.dumps(change(document, name), sort_keys=True, separators=(",", ":")).encode()
                    if store.objects[key] != data:
                        assert named(store), f"{fault} in {name} of {key}"
            store.objects[key] = data


RUBBISH = {
    "nested deeply": b'{"spec":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "nested deeply in a value": b"[" * 5_000 + b"]" * 5_000,
    "NaN": b'{"loss": NaN}',
    "not UTF-8": b'{"run": "\xff"}',
    "UTF-16": '{"run": "r"}'.encode("utf-16"),
    "empty": b"",
    "a list": b"[]",
    "a number of many digits": b'{"round": ' + b"9" * 10_000 + b"}",
}


@pytest.mark.parametrize("rubbish", RUBBISH.values(), ids=RUBBISH)
def test_rubbish_is_a_finding(federated, rubbish):
    for key in [key for key in federated.objects if key.endswith(".json") and "/added/" not in key]:
        kept, federated.objects[key] = federated.objects[key], rubbish
        assert key in named(federated) or key.endswith("spec.json"), key
        federated.objects[key] = kept


def test_a_stray_manifest_does_not_blind(federated):
    for number, data in enumerate([b'{"commit":[1]}', b'{"run":"recorded","commit":[1]}', *RUBBISH.values()]):
        federated.put_new(f"models/{MODEL}/versions/{number + 2}/manifest.json", data)
    federated.put_new(f"models/{MODEL}/versions/²/manifest.json", b"{}")
    forged = federated.key(2, "verdicts.json")
    federated.edit(forged, lambda verdicts: verdicts["verdicts"][2].update(reason="x"))
    assert forged in named(federated)


def test_the_rounds_that_were_removed_are_missed_by_who_kept_the_head(federated):
    head = verify_run(federated, RUN).head
    assert named(federated, expect=head) == {}
    federated.keep_rounds(2)
    assert named(federated) == {}, "nothing in the bucket tells"
    assert "no commit of the run has the expected digest" in named(federated, expect=head)[federated.key(2, "commit.json")]
    kept = sha256_hex(federated.objects[federated.key(1, "commit.json")])
    assert named(federated, expect=kept) == {}, "a run that has grown since still has that commit"


ROLLBACKS = {
    "another model": lambda commit: commit.update(weights_digest=commit["base_digest"]),
    "a round that was cut off": lambda commit: commit.update(restores=2),
    "a stop": lambda commit: commit["decision"].update(action="stop"),
    "metrics": lambda commit: commit.update(measured_round=1),
}


@pytest.mark.parametrize("change", ROLLBACKS.values(), ids=ROLLBACKS)
def test_a_forged_rollback(federated, change):
    federated.keep_rounds(3)
    key = federated.key(3, "commit.json")
    federated.edit(key, change)
    assert list(named(federated)) == [key]


def test_a_changed_update_is_one_finding(federated):
    key = next(key for key in federated.objects if "rounds/0004/updates/a-" in key)
    federated.objects[key] = federated.objects[key][:-1] + b"?"
    assert [problem.key for problem in verify_run(federated, RUN).problems] == [key]
