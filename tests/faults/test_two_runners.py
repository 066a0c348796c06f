"""Two runners on one run at once: one wins each round, and the ledger is that of an undisturbed run."""

import pytest

from fedstream.audit import verify_run


@pytest.mark.parametrize("key", [r"r/spec\.json", r"0001/updates/b[^.]*\.safetensors"])
def test_two_runners_that_meet_before_a_key(place, zygote, spec, undisturbed_round, key):
    spec |= {"rounds": 1}
    runs = [zygote.start(place.env, spec, "before", key, "wait") for _ in range(2)]
    for run in runs:
        zygote.await_waiting(run)
    for run in runs:
        zygote.flag(run).unlink()
    answers = [zygote.answer(run) for run in runs]
    assert answers == [{"signal": 0, "version": 1}] * 2, zygote.tail()
    assert place.digests == undisturbed_round
    assert verify_run(place.store, "r").problems == []
    assert place.store.get_json("models/builtin-digits-mlp/latest.json")["version"] == 1
