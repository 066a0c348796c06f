"""`fedstream submit` against a fake of Kubeflow's API server: docs/kubeflow.md tells of a real one."""

import json
import os
import signal
import sys
import threading
import time
from types import SimpleNamespace

import pytest
from support.fake_kubeflow import Script, failed, rounds, succeeded
from support.http_server import Refused

from fedstream.cli import main
from fedstream.kubeflow import api, following
from fedstream.kubeflow.package import shipped_pipeline

RUN = ["submit", "--name", "first", "--model", "builtin:digits-mlp", "--rounds", "3"]
FINISHED = 4
"""Rounds of RUN with the one that only measures."""

UNKNOWN = dict.fromkeys(("model", "version", "rounds", "round", "metrics", "weights_digest"))
"""What --json says of a run whose store cannot be read."""

GOING = ["plan-training SUCCEEDED", "local-train RUNNING"]


@pytest.fixture
def submit(monkeypatch, capsys, kubeflow):
    """Run the command against the fake; returns exit code, standard output and standard error."""
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", kubeflow.url)

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["fedstream", *RUN, *words])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


@pytest.fixture
def minutes(monkeypatch):
    """A clock that only moves between the looks at a submission, a minute each time; returns the minutes that have passed."""
    slept = []
    monkeypatch.setattr(following, "time", SimpleNamespace(monotonic=lambda: 60.0 * len(slept), sleep=slept.append))
    return lambda: len(slept)


def check_error(result, *texts, code=1):
    exit_code, out, err = result
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert exit_code == code, err
    assert out == ""
    assert "Traceback" not in err
    assert len(errors) == 1
    assert err.splitlines()[-1] == errors[0]
    for text in texts:
        assert text in errors[0]


def test_a_fake_api_gets_experiment_pipeline_version_and_run_once(submit, kubeflow):
    kubeflow.scripts = [succeeded(FINISHED), succeeded(FINISHED)]
    code, out, _ = submit("--json", "--learning-rate", "0.5", "--clients", "b,a", "--config-map", "mine", "--node-budget", "900", "--memory", "8Gi")
    assert code == 0
    assert json.loads(out) == {
        "run": "first",
        "finished": None,
        **UNKNOWN,
        "submissions": [{"run_id": "run-1", "url": f"{kubeflow.url}/#/runs/details/run-1", "state": None, "rounds": None}],
        "experiment_id": "experiment-1",
        "pipeline_id": "pipeline-1",
        "version_id": "version-1",
    }
    (run,) = kubeflow.runs
    assert (run["display_name"], run["experiment_id"]) == ("first", "experiment-1")
    assert run["pipeline_version_reference"] == {"pipeline_id": "pipeline-1", "pipeline_version_id": "version-1"}
    sent = run["runtime_config"]["parameters"]
    assert (sent["rounds"], sent["learning_rate"], sent["clients"], sent["config_map"], sent["node_budget"]) == (3, 0.5, ["a", "b"], "mine", 900)
    assert sent["memory"] == "8Gi"
    assert "store_secret" not in sent
    kubeflow.runs[0]["state"] = "SUCCEEDED"
    assert submit("--experiment-name", "fedstream")[0] == 0
    assert [len(things) for things in (kubeflow.experiments, kubeflow.pipelines, kubeflow.versions, kubeflow.runs)] == [1, 1, 1, 2]


@pytest.mark.parametrize(
    ("memory", "reason"),
    [
        ("512Mi", "--memory: 512Mi is less than the 1Gi that a step asks its node for before it holds any records; give it more"),
        ("4 GB", "--memory: '4 GB' is no amount of memory; write 4Gi for four gibibytes"),
        ("nan", "--memory: 'nan' is no amount of memory"),
    ],
)
def test_memory_that_no_pod_could_have_is_refused_before_a_fake_api_is_asked(submit, kubeflow, memory, reason):
    check_error(submit("--memory", memory), reason, code=2)
    assert not kubeflow.runs


def test_a_fake_api_gets_another_file_as_another_version(submit, kubeflow, tmp_path):
    kubeflow.scripts = [succeeded(FINISHED)] * 2
    submit()
    kubeflow.runs[0]["state"] = "FAILED"
    changed = tmp_path / "pipeline.yaml"
    changed.write_text(shipped_pipeline().read_text() + "# changed\n")
    submit("--package-file", str(changed))
    assert len(kubeflow.pipelines) == 1
    assert len({version["name"] for version in kubeflow.versions}) == 2


def test_a_run_under_way_on_a_fake_api_is_taken_up_not_started_twice(submit, kubeflow):
    kubeflow.scripts = [succeeded(FINISHED)]
    submit()
    code, out, err = submit("--watch")
    assert code == 0
    assert "is under way already, as run-1" in err
    assert "finished and published" in out
    assert len(kubeflow.runs) == 1


def test_a_run_under_way_on_a_fake_api_with_other_values_is_not_touched(submit, kubeflow):
    kubeflow.scripts = [succeeded(FINISHED)]
    submit()
    check_error(submit("--rounds", "5"), "run 'first' is under way as run-1 with another rounds (3, now 5)", code=2)
    assert len(kubeflow.runs) == 1


def test_a_clone_under_way_on_a_fake_api_is_taken_up_whatever_it_is_called(submit, kubeflow):
    kubeflow.scripts = [succeeded(FINISHED)]
    submit()
    kubeflow.runs[0] |= {"display_name": "Clone of another", "experiment_id": "experiment-9"}
    assert "is under way already, as run-1" in submit("--watch")[2]
    assert len(kubeflow.runs) == 1


def test_values_a_run_under_way_on_a_fake_api_was_not_given_are_the_form_s(submit, kubeflow):
    kubeflow.scripts = [succeeded(FINISHED)]
    submit()
    del kubeflow.runs[0]["runtime_config"]["parameters"]["epochs"]
    check_error(submit("--epochs", "5"), "with another epochs (1.0, now 5)", code=2)
    assert "is under way already" in submit()[2]


def test_a_terminated_run_on_a_fake_api_does_not_keep_a_new_one_from_starting(submit, kubeflow):
    kubeflow.scripts = [succeeded(FINISHED)] * 2
    submit()
    kubeflow.runs[0]["state"] = "CANCELING"
    assert submit("--watch")[0] == 0
    assert len(kubeflow.runs) == 2


def test_the_page_of_a_run_is_not_named_where_a_fake_api_has_no_web_interface(submit, kubeflow):
    kubeflow.scripts, kubeflow.ui = [succeeded(FINISHED)], False
    _, out, err = submit("--json")
    assert json.loads(out)["submissions"][0]["url"] == ""
    assert "its page is in the Kubeflow UI, under Runs; set KF_PIPELINES_UI_ENDPOINT" in err


def test_a_fake_api_with_a_token_lets_in_who_has_it(submit, kubeflow, monkeypatch, tmp_path):
    kubeflow.scripts, kubeflow.token = [succeeded(FINISHED)] * 2, "right"
    monkeypatch.setenv("KFP_TOKEN", "right")
    assert submit()[0] == 0
    kubeflow.runs[0]["state"] = "SUCCEEDED"
    monkeypatch.delenv("KFP_TOKEN")
    (tmp_path / "token").write_text("right\n")
    assert submit("--token-file", str(tmp_path / "token"), "--host", kubeflow.url)[0] == 0


def test_a_wrong_token_at_a_fake_api_is_told_at_once(submit, kubeflow, monkeypatch):
    kubeflow.token = "right"
    monkeypatch.setenv("KFP_TOKEN", "wrong-secret")
    result = submit()
    check_error(result, "does not let this caller list experiments (HTTP 401: Failed to authorize", "give a token that is valid in KFP_TOKEN")
    assert "wrong-secret" not in result[2]
    assert len(kubeflow.asked) == 2


@pytest.mark.parametrize(
    ("answer", "texts"),
    [
        ((404, "404 page not found"), ["is not there, or has no such thing (HTTP 404", "check --host"]),
        ((200, "<html>Log in</html>"), ["is not Kubeflow Pipelines, but a page", "KFP_TOKEN"]),
        ((200, {"hello": 1}), ["is not Kubeflow Pipelines"]),
        ((302, "<html>moved</html>"), ["does not let this caller say how it is (HTTP 302"]),
        ((403, {"message": "RBAC: access denied"}), ["HTTP 403: RBAC: access denied"]),
    ],
    ids=["not-found", "login-page", "other-api", "redirect", "forbidden"],
)
def test_what_is_no_kubeflow_is_told(submit, kubeflow, answer, texts):
    kubeflow.first = [answer]
    check_error(submit(), *texts)


def test_a_fake_api_with_profiles_wants_a_namespace(submit, kubeflow):
    kubeflow.multi_user = True
    check_error(submit(), "name your profile's namespace with --namespace", code=2)
    kubeflow.scripts = [succeeded(FINISHED)]
    assert submit("--namespace", "team")[0] == 0
    assert kubeflow.experiments[0]["namespace"] == "team"


def test_a_parameter_that_a_fake_api_does_not_know_is_told_in_its_words(submit, kubeflow):
    kubeflow.refuses = "rounds"
    check_error(
        submit(),
        "refuses to create run 'first' (HTTP 400): Failed to create a new run: InvalidInputError: unknown parameter rounds; change that value",
    )


def test_a_fake_api_in_trouble_is_asked_again(submit, kubeflow):
    kubeflow.scripts = [succeeded(FINISHED)]
    kubeflow.first = [(200, {"multi_user": False}), (503, {"message": "busy"}), (500, "oops")]
    assert submit("--watch")[0] == 0


def test_trouble_of_a_fake_api_that_lasts_is_told(submit, kubeflow):
    kubeflow.first = [(200, {"multi_user": False}), *[(503, {"message": "no endpoints available"})] * 50]
    check_error(submit(), "fails to list experiments (HTTP 503: no endpoints available)")


def test_a_run_whose_creation_a_fake_api_did_not_confirm_is_not_made_twice(submit, kubeflow, monkeypatch):
    kubeflow.scripts = [succeeded(FINISHED)]
    started = kubeflow._started

    def lost(body):
        started(body)
        raise Refused(504, "upstream request timeout")

    monkeypatch.setattr(kubeflow, "_started", lost)
    assert submit("--watch")[0] == 0
    assert len(kubeflow.runs) == 1


def test_a_fake_api_that_says_nothing_is_given_up(submit, kubeflow, monkeypatch):
    monkeypatch.setattr(api, "TIMEOUT", (1, 1))
    kubeflow.first = [1.5, 1.5]
    check_error(submit(), "does not answer (no answer in time)")


def test_a_port_where_nothing_listens_is_told(submit):
    check_error(
        submit("--host", "http://127.0.0.1:1"), "Kubeflow Pipelines at http://127.0.0.1:1 does not answer (connection refused)", "check --host"
    )


@pytest.mark.parametrize(
    ("words", "texts"),
    [
        (["--host", "kubeflow"], ["--host is 'kubeflow'; expected http://... or https://..."]),
        (["--ca-file", "none.pem"], ["--ca-file is 'none.pem', and there is no such file"]),
        (["--token-file", "none"], ["--token-file is 'none', which cannot be read"]),
        (["--package-file", "none.yaml"], ["cannot read the pipeline 'none.yaml'"]),
        (["--rounds", "0"], ["rounds: Input should be greater than or equal to 1"]),
        (["--tries", "0"], ["'--tries'"]),
    ],
    ids=lambda value: value[0] if value[0].startswith("--") else "",
)
def test_a_wrong_option_is_told_before_anything_is_asked(submit, kubeflow, words, texts):
    check_error(submit(*words), *texts, code=2)
    assert kubeflow.asked == []


def test_watching_a_fake_api_tells_tasks_and_why_there_is_no_table(submit, kubeflow):
    going = ("RUNNING", ["plan-training SUCCEEDED", "local-train RUNNING", "local-train RUNNING", "ingest-from-kafka PENDING", "executor RUNNING"])
    kubeflow.scripts = [Script([("PENDING", []), going, going, ("SUCCEEDED", rounds(FINISHED))])]
    code, out, err = submit("--watch")
    lines = err.splitlines()
    assert code == 0
    assert any("no table of the rounds" in line and "S3_ENDPOINT_URL is not set" in line for line in lines)
    assert "pending; 0 rounds committed" in lines
    assert lines.count("running; 0 rounds committed; running ingest-from-kafka, local-train (2)") == 1
    assert "succeeded; 4 rounds committed" in lines
    assert "run first is finished and published" in out


def test_a_submission_of_a_fake_api_that_holds_not_all_rounds_says_so(submit, kubeflow):
    kubeflow.scripts = [succeeded(2)]
    code, out, _ = submit("--watch")
    assert code == 0
    assert "not known to be finished: submit it again to go on" in out


def test_a_failed_submission_of_a_fake_api_names_its_steps(submit, kubeflow):
    kubeflow.scripts = [failed(1, "local-train", "aggregate", error="child 'x'\nfailed")]
    check_error(
        submit("--watch"), "submission run-1 of run 'first' ended as failed (failed: aggregate, local-train; Kubeflow says: child 'x' failed)"
    )


@pytest.mark.parametrize("tells", ["nodes", "compressed", "details"])
def test_a_fake_api_tells_the_tasks_in_several_places(submit, kubeflow, tells):
    kubeflow.tells, kubeflow.scripts = tells, [succeeded(FINISHED)]
    code, out, err = submit("--watch")
    assert code == 0
    assert "succeeded; 4 rounds committed" in err
    assert "finished and published" in out


def test_until_done_on_a_fake_api_submits_again_what_one_submission_cannot_hold(submit, kubeflow):
    kubeflow.scripts = [succeeded(3), succeeded(1)]
    code, out, err = submit("--until-done", "--json")
    document = json.loads(out)
    assert code == 0
    assert document["finished"] is True
    assert document | UNKNOWN == document
    assert [entry["rounds"] for entry in document["submissions"]] == [3, 1]
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
    check_error(submit("--until-done", "--tries", "2"), "after 2 tries", "submit the same run again to go on")
    assert len(kubeflow.runs) == 2


def test_until_done_on_a_fake_api_respects_who_terminated_it(submit, kubeflow):
    kubeflow.scripts = [Script([("CANCELED", rounds(1))]), succeeded(3)]
    check_error(submit("--until-done"), "somebody terminated it")
    assert len(kubeflow.runs) == 1


def test_a_submission_of_a_fake_api_that_never_ends_is_left_at_its_deadline(submit, kubeflow, minutes, monkeypatch):
    monkeypatch.setattr(following, "FOLLOW_S", 600.0)
    kubeflow.scripts = [Script([("RUNNING", [])])]
    check_error(submit("--watch"), "submission run-1 has not ended in 10 min 0 s", "the same command follows it again")


@pytest.mark.parametrize("tells", ["nodes", "compressed"])
def test_a_submission_of_a_fake_api_that_stands_still_is_given_up_after_a_step_s_time(submit, kubeflow, minutes, tells):
    kubeflow.scripts, kubeflow.tells = [Script([("PENDING", []), ("RUNNING", GOING)])], tells
    check_error(
        submit("--until-done", "--round-deadline", "3600"),
        "submission run-1 stands still (running; 0 rounds committed; running local-train): nothing has changed in it for 1 h 31 min",
        "longer than a step may take by --round-deadline and 30 min 0 s to start",
        "if a pod waits for a node, `fedstream doctor --cluster --placement` says why",
        "if no pod runs, terminate it, and submit the same run again",
    )
    assert minutes() == 1 + 91
    assert len(kubeflow.runs) == 1


def test_a_submission_of_a_fake_api_whose_steps_take_long_is_not_given_up(submit, kubeflow, minutes):
    going = [("RUNNING", [*rounds(count)[:-1], *GOING]) for count in range(FINISHED) for _ in range(39)]
    kubeflow.scripts = [Script([*going, ("SUCCEEDED", rounds(FINISHED))])]
    assert submit("--watch")[0] == 0
    assert minutes() == FINISHED * 39


def test_tasks_of_a_fake_api_that_may_be_old_tell_nothing_about_standing_still(submit, kubeflow, minutes):
    kubeflow.scripts, kubeflow.tells = [Script([("RUNNING", GOING)] * 100 + [("SUCCEEDED", rounds(FINISHED))])], "details"
    assert submit("--watch")[0] == 0


@pytest.mark.parametrize("tells", ["compressed", "details"])
def test_a_terminated_submission_that_a_fake_api_does_not_end_is_given_up_in_minutes(submit, kubeflow, minutes, tells):
    kubeflow.scripts, kubeflow.tells = [Script([("RUNNING", GOING), ("CANCELING", GOING)])], tells
    check_error(
        submit("--until-done"),
        "submission run-1 was terminated, and for 6 min 0 s nothing has changed in it",
        "archive and delete it in the Kubeflow UI, and submit the same run again",
    )
    assert minutes() == 1 + 6
    assert len(kubeflow.runs) == 1


def test_a_terminated_submission_that_a_fake_api_ends_in_time_is_told_as_terminated(submit, kubeflow):
    kubeflow.scripts = [Script([("RUNNING", GOING), *[("CANCELING", GOING)] * 5, ("CANCELED", GOING)])]
    check_error(submit("--until-done"), "somebody terminated it; submit the same run again to go on")


def test_a_submission_that_was_deleted_from_a_fake_api_is_told(submit, kubeflow, monkeypatch):
    kubeflow.scripts = [Script([("RUNNING", GOING)])]
    look = kubeflow._workflow
    monkeypatch.setattr(kubeflow, "_workflow", lambda run_id: (look(run_id), kubeflow.runs.clear())[0])
    result = submit("--until-done")
    check_error(result, "submission run-1 was deleted, which ends its pods too; submit the same run again to go on")
    assert "--host" not in result[2]


def test_what_is_not_found_on_the_way_to_a_fake_api_is_not_taken_for_a_deleted_run(submit, kubeflow, monkeypatch):
    kubeflow.scripts = [Script([("RUNNING", GOING)])]
    look = kubeflow._workflow
    monkeypatch.setattr(kubeflow, "_workflow", lambda run_id: (look(run_id), kubeflow.first.append((404, "default backend - 404")))[0])
    check_error(submit("--watch"), "is not there, or has no such thing (HTTP 404 when asked to get run run-1: default backend - 404)", "check --host")


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
    assert "interrupted; run-1 goes on in the cluster: the same command follows it again" in err.splitlines()[-1]
    assert f"{kubeflow.url}/#/runs/details/run-1" in err.splitlines()[-1]
    assert [asked for asked in kubeflow.asked if asked.startswith("DELETE") or ":terminate" in asked] == []
    assert threading.active_count() <= threads + 1
