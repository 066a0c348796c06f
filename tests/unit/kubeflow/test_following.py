"""`fedstream submit --watch` and `--until-done` against a fake of Kubeflow's API server:
how a submission is followed, and when it is given up.
"""

import json
import os
import signal
import threading
import time
from types import SimpleNamespace

import pytest
from support.fake_kubeflow import Script, failed, rounds, succeeded
from support.submitting import FINISHED, UNKNOWN, check_error

from fedstream.kubeflow import following

GOING = ["plan-training SUCCEEDED", "local-train RUNNING"]


@pytest.fixture
def minutes(monkeypatch):
    """A clock that only moves between the looks at a submission, a minute each time;
    returns the minutes that have passed.
    """
    slept = []
    monkeypatch.setattr(following, "time", SimpleNamespace(monotonic=lambda: 60.0 * len(slept), sleep=slept.append))
    return lambda: len(slept)


def test_watching_a_fake_api_tells_tasks_and_why_there_is_no_table(submit, kubeflow):
    going = (
        "RUNNING",
        [
            "plan-training SUCCEEDED",
            "local-train RUNNING",
            "local-train RUNNING",
            "ingest-from-kafka PENDING",
            "executor RUNNING",
        ],
    )
    kubeflow.scripts = [Script([("PENDING", []), going, going, ("SUCCEEDED", rounds(FINISHED))])]
    code, out, err = submit("--watch")
    lines = err.splitlines()
    assert code == 0
    assert any("the table of rounds is not shown" in line and "S3_ENDPOINT_URL is not set" in line for line in lines)
    assert "pending; 0 passes committed" in lines
    assert lines.count("running; 0 passes committed; running ingest-from-kafka, local-train (2)") == 1
    assert "succeeded; 4 passes committed" in lines
    assert "run first is finished and published" in out


def test_a_submission_of_a_fake_api_that_holds_not_all_rounds_says_so(submit, kubeflow):
    kubeflow.scripts = [succeeded(2)]
    code, out, _ = submit("--watch")
    assert code == 0
    assert "not known to be finished: submit it again to continue it" in out


def test_a_failed_submission_of_a_fake_api_names_its_steps(submit, kubeflow):
    kubeflow.scripts = [failed(1, "local-train", "aggregate", error="child 'x'\nfailed")]
    check_error(
        submit("--watch"),
        "submission run-1 of run 'first' ended as failed (failed: aggregate, local-train; Kubeflow says: "
        "child 'x' failed)",
    )


@pytest.mark.parametrize("tells", ["nodes", "compressed", "details"])
def test_a_fake_api_tells_the_tasks_in_several_places(submit, kubeflow, tells):
    kubeflow.tells, kubeflow.scripts = tells, [succeeded(FINISHED)]
    code, out, err = submit("--watch")
    assert code == 0
    assert "succeeded; 4 passes committed" in err
    assert "finished and published" in out


def test_until_done_on_a_fake_api_submits_again_what_one_submission_cannot_hold(submit, kubeflow):
    kubeflow.scripts = [succeeded(3), succeeded(1)]
    code, out, err = submit("--until-done", "--json")
    document = json.loads(out)
    assert code == 0
    assert document["finished"] is True
    assert document | UNKNOWN == document
    assert [entry["passes"] for entry in document["submissions"]] == [3, 1]
    assert "submitting it again (2 of at most 10)" in err


def test_until_done_on_a_fake_api_goes_on_after_a_killed_pod(submit, kubeflow):
    kubeflow.scripts = [failed(1, "local-train"), failed(0, "local-train"), succeeded(3)]
    code, out, _ = submit("--until-done", "--json")
    assert code == 0
    assert [entry["state"] for entry in json.loads(out)["submissions"]] == ["FAILED", "FAILED", "SUCCEEDED"]


def test_until_done_on_a_fake_api_knows_by_an_unused_slot_that_a_run_has_stopped_early(submit, kubeflow):
    kubeflow.scripts = [succeeded(2, unused=2)]
    assert submit("--until-done")[0] == 0
    assert len(kubeflow.runs) == 1


def test_until_done_on_a_fake_api_asks_once_more_where_earlier_rounds_are_unknown(submit, kubeflow):
    kubeflow.scripts = [succeeded(1), succeeded(0, unused=1)]
    assert submit("--until-done")[0] == 0
    assert len(kubeflow.runs) == 2


def test_until_done_on_a_fake_api_stops_when_two_submissions_commit_nothing(submit, kubeflow):
    kubeflow.scripts = [failed(1, "local-train"), failed(0, "aggregate"), failed(0, "aggregate"), succeeded(3)]
    check_error(submit("--until-done"), "run-3", "failed: aggregate", "the second in a row that committed no round")
    assert len(kubeflow.runs) == 3


def test_until_done_on_a_fake_api_stops_after_so_many_tries(submit, kubeflow):
    kubeflow.scripts = [succeeded(1), succeeded(1), succeeded(2)]
    check_error(submit("--until-done", "--tries", "2"), "after 2 tries", "submit the same run again to continue it")
    assert len(kubeflow.runs) == 2


def test_until_done_on_a_fake_api_respects_who_terminated_it(submit, kubeflow):
    kubeflow.scripts = [Script([("CANCELED", rounds(1))]), succeeded(3)]
    check_error(submit("--until-done"), "it was terminated by a user")
    assert len(kubeflow.runs) == 1


def test_a_submission_of_a_fake_api_that_never_ends_is_left_at_its_deadline(submit, kubeflow, minutes, monkeypatch):
    monkeypatch.setattr(following, "FOLLOW_S", 600.0)
    kubeflow.scripts = [Script([("RUNNING", [])])]
    check_error(
        submit("--watch"), "submission run-1 has not ended in 10 min 0 s", "or follow it again with the same command"
    )


@pytest.mark.parametrize("tells", ["nodes", "compressed"])
def test_a_submission_of_a_fake_api_that_stands_still_is_given_up_after_a_step_s_time(submit, kubeflow, minutes, tells):
    kubeflow.scripts, kubeflow.tells = [Script([("PENDING", []), ("RUNNING", GOING)])], tells
    check_error(
        submit("--until-done", "--round-deadline", "3600"),
        "submission run-1 is stuck (running; 0 passes committed; running local-train): "
        "nothing has changed for 1 h 31 min",
        "longer than --round-deadline allows for a step plus 30 min 0 s to start it",
        "if a pod waits for a node, `fedstream doctor --cluster --placement` explains why",
        "if no pod runs, terminate and archive the submission, and submit the same run again",
    )
    assert minutes() == 1 + 91
    assert len(kubeflow.runs) == 1


def test_a_submission_of_a_fake_api_whose_steps_take_long_is_not_given_up(submit, kubeflow, minutes):
    going = [("RUNNING", [*rounds(count)[:-1], *GOING]) for count in range(FINISHED) for _ in range(39)]
    kubeflow.scripts = [Script([*going, ("SUCCEEDED", rounds(FINISHED))])]
    assert submit("--watch")[0] == 0
    assert minutes() == FINISHED * 39


def test_tasks_of_a_fake_api_that_may_be_old_tell_nothing_about_standing_still(submit, kubeflow, minutes):
    kubeflow.scripts, kubeflow.tells = (
        [Script([("RUNNING", GOING)] * 100 + [("SUCCEEDED", rounds(FINISHED))])],
        "details",
    )
    assert submit("--watch")[0] == 0


@pytest.mark.parametrize("tells", ["compressed", "details"])
def test_a_terminated_submission_that_a_fake_api_does_not_end_is_given_up_in_minutes(submit, kubeflow, minutes, tells):
    kubeflow.scripts, kubeflow.tells = [Script([("RUNNING", GOING), ("CANCELING", GOING)])], tells
    check_error(
        submit("--until-done"),
        "submission run-1 was terminated, but Argo does not end it: nothing has changed for 6 min 0 s",
        "archive and delete it in the Kubeflow UI, and submit the same run again",
    )
    assert minutes() == 1 + 6
    assert len(kubeflow.runs) == 1


def test_a_terminated_submission_that_a_fake_api_ends_in_time_is_told_as_terminated(submit, kubeflow):
    kubeflow.scripts = [Script([("RUNNING", GOING), *[("CANCELING", GOING)] * 5, ("CANCELED", GOING)])]
    check_error(submit("--until-done"), "it was terminated by a user; submit the same run again to continue it")


def test_a_submission_that_was_deleted_from_a_fake_api_is_told(submit, kubeflow, monkeypatch):
    kubeflow.scripts = [Script([("RUNNING", GOING)])]
    look = kubeflow._workflow
    monkeypatch.setattr(kubeflow, "_workflow", lambda run_id: (look(run_id), kubeflow.runs.clear())[0])
    result = submit("--until-done")
    check_error(
        result, "submission run-1 was deleted, which also stopped its pods; submit the same run again to continue it"
    )
    assert "--host" not in result[2]


def test_what_is_not_found_on_the_way_to_a_fake_api_is_not_taken_for_a_deleted_run(submit, kubeflow, monkeypatch):
    kubeflow.scripts = [Script([("RUNNING", GOING)])]
    look = kubeflow._workflow
    monkeypatch.setattr(
        kubeflow, "_workflow", lambda run_id: (look(run_id), kubeflow.first.append((404, "default backend - 404")))[0]
    )
    check_error(
        submit("--watch"),
        "does not exist or has no such resource (HTTP 404 when asked to get run run-1: default backend - 404)",
        "check --host",
    )


def test_ctrl_c_leaves_the_run_on_a_fake_api_alone_and_nothing_behind(submit, kubeflow):
    kubeflow.scripts = [Script([("RUNNING", ["local-train RUNNING"])])]
    threads = threading.active_count()

    def interrupt():
        until = time.monotonic() + 10
        while "GET /apis/v2beta1/runs/run-1" not in kubeflow.asked and time.monotonic() < until:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    helper = threading.Thread(target=interrupt)
    helper.start()
    code, out, err = submit("--watch")
    helper.join(10)
    assert code == 130
    assert out == ""
    assert (
        "interrupted; run-1 continues in the cluster: run the same command to follow it again" in err.splitlines()[-1]
    )
    assert f"{kubeflow.url}/#/runs/details/run-1" in err.splitlines()[-1]
    assert [asked for asked in kubeflow.asked if asked.startswith("DELETE") or ":terminate" in asked] == []
    assert threading.active_count() <= threads + 1
