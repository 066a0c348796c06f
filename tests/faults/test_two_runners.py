"""Two runners on one run at once: one wins each round, and the ledger is that of an undisturbed run."""

import pytest

from fedstream.audit import verify_run


@pytest.mark.parametrize("point", ["before the spec", "before the first commit", "before an update"])
def test_two_runners_at_once(place, zygote, spec, undisturbed, point):
    what = {"before the spec": r"r/spec\.json", "before the first commit": r"0001/commit", "before an update": r"0001/updates/a[^.]*\.safetensors"}
    runs = [zygote.start(place.env, spec, "before", what[point], "wait") for _ in range(2)]
    for run in runs:
        zygote.await_waiting(run)
    for run in runs:
        zygote.flag(run).unlink()
    answers = [zygote.answer(run) for run in runs]
    assert [answer["signal"] for answer in answers] == [0, 0], answers
    assert all("version" in answer for answer in answers), (answers, zygote.tail())
    assert place.digests == undisturbed.digests
    assert verify_run(place.store, "r").problems == []
    latest = place.store.get_json("models/builtin-digits-mlp/latest.json")["version"]
    assert latest == max(answer["version"] for answer in answers)
    assert zygote.run(place.env, spec)["version"] == min(answer["version"] for answer in answers)
