"""Objects planted in, changed in or removed from a run's folder:
verify names each, and whatever stands in them it never ends without a report.
"""

import json
import random
from contextlib import suppress

import pytest
from support.recorded import MODEL, RUN

from fedstream import steps
from fedstream.audit import verify_run
from fedstream.errors import CorruptObject, FedstreamError
from fedstream.record.canonical import canonical_json, sha256_hex
from fedstream.report.history import to_history
from fedstream.report.html import render_report
from fedstream.report.model_card import render_model_card
from fedstream.report.view import build_view
from fedstream.steps.context import Context
from fedstream.stream.broker import EnvironmentBrokers

VERSION = f"models/{MODEL}/versions/1/"


def named(store, **options):
    return {problem.key: problem.what for problem in verify_run(store, RUN, **options).problems}


PLANTED = {
    f"runs/{RUN}/rounds/0001/server_state.safetensors": "is not an object that the commit of the round names",
    f"runs/{RUN}/rounds/0001/broadcast.safetensors": "is not an object that the commit of the round names",
    f"runs/{RUN}/rounds/0001/aggregation.json": "is not an object that the commit of the round names",
    f"runs/{RUN}/rounds/0000/server_state.safetensors": "is not an object that the commit of the round names",
    f"runs/{RUN}/rounds/0005/global.safetensors": "a closing round does not make a model",
    f"runs/{RUN}/rounds/0001/updates/mallory.json": "does not belong to a client of the run",
    f"runs/{RUN}/rounds/0001/readme.txt": "is not an object of a round",
    f"runs/{RUN}/rounds/0000/verdicts.json": "is not an object of round 0",
    f"runs/{RUN}/rounds/0009/selection.json": "does not belong to a round of the run",
    f"runs/{RUN}/rounds/00001/selection.json": "does not belong to a round of the run",
    f"runs/{RUN}/notes/a.json": "does not belong to a round of the run",
    f"{VERSION}saved_model/999/saved_model.pb": "is not a file of version 1",
}


@pytest.mark.parametrize("key", PLANTED)
def test_a_planted_object(federated, key):
    federated.put_new(key, b"{}")
    found = named(federated)
    assert list(found) == [key]
    assert PLANTED[key] in found[key]


@pytest.mark.parametrize(
    "part", ["rounds/0004/opened/", "/initial/", "latest.json", f"{VERSION}report.html", f"{VERSION}model_card.md"]
)
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


@pytest.mark.parametrize("fault", HOSTILE)
def test_fuzzed_documents_are_findings(federated, evaluated, fault):
    for store in (federated, evaluated):
        for key, data in list(store.objects.items()):
            if not key.endswith(".json") or "/added/" in key:
                continue
            document = json.loads(data)
            for name in document:
                store.objects[key] = json.dumps(
                    HOSTILE[fault](document, name), sort_keys=True, separators=(",", ":")
                ).encode()
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


PLANS = {
    "a key that leads elsewhere": (
        lambda record: record["model"].update(keras_digest="../../../x"),
        "model.keras_digest",
    ),
    "a model elsewhere": (lambda record: record["model"].update(name="../runs"), "model.name"),
    "no evaluation": (
        lambda record: record["spec"].update(evaluation_topic="held"),
        "evaluation_topic is 'held', but it has no evaluation",
    ),
}


@pytest.mark.parametrize(("change", "what"), PLANS.values(), ids=PLANS)
def test_a_plan_that_cannot_be_is_one_finding_and_one_line(federated, forge, change, what):
    """The chain fits, and the keys that follow from the plan are none that a store takes."""
    forge(federated, f"runs/{RUN}/spec.json", change)
    (problem,) = verify_run(federated, RUN).problems
    assert problem.key == f"runs/{RUN}/spec.json"
    assert what in problem.what
    with pytest.raises(CorruptObject, match=r"spec\.json"):
        build_view(federated, RUN)


def test_a_version_s_file_of_a_name_that_no_store_takes(federated, forge):
    key = f"{VERSION}manifest.json"
    forge(federated, key, lambda manifest: manifest["files"].update({"x" * 2000: "0" * 64}))
    assert "is no name of a version's file" in named(federated)[key]


def test_whatever_is_forged_and_made_to_fit_is_no_traceback(federated, evaluated, forge):
    """Somewhere in a document stands a hostile value, and all digests fit:
    verify, the pages, the history and the steps end as they should.
    """
    rng = random.Random(7)
    for store in (federated, evaluated):
        whole = dict(store.objects)
        for key in [key for key in sorted(whole) if key.endswith(".json") and "/added/" not in key]:
            for _ in range(4):
                store.objects = dict(whole)
                forge(store, key, lambda document: spoil(document, rng))
                verify_run(store, RUN)
                for call in (read_all, aggregate_again):
                    with suppress(FedstreamError):
                        call(store)


def spoil(document, rng):
    """Put a hostile value in a random place."""
    part = document
    while part:
        name = rng.choice(list(part) if isinstance(part, dict) else range(len(part)))
        if not isinstance(part[name], dict | list) or not part[name] or rng.random() < 0.3:
            part[name] = rng.choice(
                [
                    None,
                    7,
                    -1,
                    2**62,
                    10**400,
                    1e308,
                    "",
                    "../../x",
                    "[/x]<b>",
                    [],
                    [1],
                    {"a": {"b": 1}},
                    "0" * 64,
                    "rollback",
                ]
            )
            return
        part = part[name]


def read_all(store):
    view = build_view(store, RUN)
    render_report(view)
    to_history(view)
    render_model_card(view, view.best or 0)


def aggregate_again(store):
    store.keep_rounds(2)
    store.remove_below(store.key(2, "commit"), store.key(2, "global"))
    steps.aggregate.within(Context(store, EnvironmentBrokers()), RUN, 2, "attempt")
    steps.open_round.within(Context(store, EnvironmentBrokers()), RUN, 9, "attempt", 0)


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
    assert (
        "no commit of the run has the expected digest" in named(federated, expect=head)[federated.key(2, "commit.json")]
    )
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
