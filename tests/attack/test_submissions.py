"""What is planted as a submission may change how a run is carried out, never what it is;
verify names whatever else it tries.
"""

import pytest
from support.recorded import RUN

from fedstream.audit import verify_run
from fedstream.errors import CorruptObject, ObjectConflict
from fedstream.record.canonical import canonical_json
from fedstream.record.layout import RunKeys
from fedstream.record.operational import operational
from fedstream.steps.plan import put_in_force
from fedstream.store.state import RunState

FIRST = RunKeys(RUN).submission(1)


def plant(store, number=1, said=1, run=RUN, **values):
    key = RunKeys(RUN).submission(number)
    store.put_new(key, canonical_json({"run": run, "number": said, "values": values}))
    return key


def named(store):
    return {problem.key: problem.what for problem in verify_run(store, RUN).problems}


def test_the_newest_submission_s_operational_values_count(federated):
    plant(federated, round_deadline_s=5.0)
    plant(federated, 2, 2, round_deadline_s=7.0, sites={"a": {"store_secret": "key"}})
    state = RunState(federated, RUN)
    assert (state.spec.round_deadline_s, state.spec.store_secret_of("a")) == (7.0, "key")
    assert state.record.spec.round_deadline_s == 600.0
    assert named(federated) == {}


@pytest.mark.parametrize(
    ("planted", "said"),
    [
        ({"epochs": 5}, "it changes epochs beyond what is operational"),
        ({"rounds": 5}, "it changes rounds beyond what is operational"),
        ({"sites": {"a": {"bootstrap_servers": "elsewhere:1"}}}, "it changes sites beyond what is operational"),
        ({"sites": {"mallory": {"store_secret": "key"}}}, "sites names 'mallory'"),
        ({"placement": {"gpu_count": -1}}, "placement.gpu_count: Input should be greater than or equal to 0"),
    ],
)
def test_a_submission_that_changes_the_run_is_named_and_not_followed(federated, planted, said):
    key = plant(federated, **planted)
    assert list(named(federated)) == [key]
    assert said in named(federated)[key]
    with pytest.raises(CorruptObject, match=f"{key} does not fit the run: .* run `fedstream verify {RUN}`"):
        _ = RunState(federated, RUN).spec


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"run": "other"}, "run is other, expected"),
        ({"said": 7}, "number is 7, expected 1"),
        ({"number": 2, "said": 2}, "does not belong to a round"),
    ],
)
def test_a_submission_in_the_wrong_place_is_named(federated, changes, said):
    key = plant(federated, **{"number": 1, **changes})
    assert said in named(federated)[key]


def test_two_submissions_at_once_both_end_with_one_of_them_in_force(federated, monkeypatch):
    state = RunState(federated, RUN)
    ours = state.record.spec.model_copy(update={"round_deadline_s": 5.0})
    theirs = operational(state.record.spec.model_copy(update={"round_deadline_s": 9.0}))
    put_new_json = federated.put_new_json

    def raced(key, value):
        if FIRST not in federated.objects:
            plant(federated, **theirs)
        return put_new_json(key, value)

    monkeypatch.setattr(federated, "put_new_json", raced)
    put_in_force(state, ours)
    found = RunState(federated, RUN)
    assert [submission.values["round_deadline_s"] for submission in found.submissions] == [9.0, 5.0]
    assert found.spec == ours
    with pytest.raises(ObjectConflict):
        plant(federated, round_deadline_s=1.0)
