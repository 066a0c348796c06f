"""A run that is killed anywhere and run again ends with the digests of an undisturbed one,
and does no finished work twice.
"""

import signal

from fedstream.audit import verify_run

POINTS = [
    ("before", r"spec\.json"),
    ("after", r"spec\.json"),
    ("before", r"0000/commit"),
    ("after", r"0001/opened"),
    ("before", r"0001/slices/b"),
    ("training", "b"),
    ("after", r"0001/updates/b[^/]*\.safetensors"),
    ("after", r"0001/verdicts"),
    ("after", r"0001/global"),
    ("after", r"0001/commit"),
    ("before", r"0002/updates/b[^/]*\.safetensors"),
    ("before", r"0002/commit"),
    ("before", r"0003/updates/b"),
    ("before", r"versions/1/manifest"),
    ("after", r"versions/2/manifest"),
]
"""In the order of a run, so that one run can be killed at each of them, each time a little later."""


def test_a_run_killed_at_every_point_in_turn(place, zygote, spec, clients, undisturbed):
    finished = {}
    for point, what in POINTS:
        killed = zygote.run(place.env, spec, point, clients[1] if point == "training" else what)
        assert killed == {"signal": signal.SIGKILL}, f"{point} {what}: {killed}: {zygote.tail()}"
        finished = place.unchanged(finished, f"{point} {what}")
        commits = place.digests
        assert commits == undisturbed.digests[: len(commits)], f"{point} {what}"
        assert not commits or verify_run(place.store, "r").problems == [], f"{point} {what}"
    assert zygote.run(place.env, spec) == {"signal": 0, "version": 2}, zygote.tail()
    assert place.digests == undisturbed.digests
    assert verify_run(place.store, "r").problems == []
    place.unchanged(finished, "at last")
    assert place.store.get_json("models/builtin-digits-mlp/latest.json")["version"] == 2


def test_published_again_is_the_same_version(undisturbed, zygote, spec):
    assert zygote.run(undisturbed.env, spec) == {"signal": 0, "version": 1}


def test_another_spec_is_refused_by_field(undisturbed, zygote, spec):
    refused = zygote.run(undisturbed.env, {**spec, "epochs": 3})
    assert "epochs was 1 and is now 3" in refused["error"]


def test_the_budget_may_grow(undisturbed, zygote, spec):
    place = undisturbed.copied("runs/", "models/")
    before = place.times
    assert zygote.run(place.env, {**spec, "rounds": 3}) == {"signal": 0, "version": 2}, zygote.tail()
    assert [commit.kind for commit in place.commits] == [
        "initial",
        "training",
        "training",
        "closing",
        "training",
        "closing",
    ]
    assert place.digests[:4] == undisturbed.digests
    assert verify_run(place.store, "r").problems == []
    place.unchanged(before, "after growing")
