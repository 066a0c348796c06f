"""`fedstream submit` against a fake of Kubeflow's API server:
what is submitted, and what is refused. docs/kubeflow.md tells of a real one.
"""

import json

import pytest
from support.fake_kubeflow import succeeded
from support.http_server import Refused
from support.submitting import FINISHED, UNKNOWN, check_error

from fedstream.kubeflow import calls
from fedstream.kubeflow.package import shipped_pipeline


def test_a_fake_api_gets_experiment_pipeline_version_and_run_once(submit, kubeflow):
    kubeflow.scripts = [succeeded(FINISHED), succeeded(FINISHED)]
    code, out, _ = submit(
        "--json",
        "--learning-rate",
        "0.5",
        "--clients",
        "b,a",
        "--config-map",
        "mine",
        "--node-budget",
        "900",
        "--memory",
        "8Gi",
    )
    assert code == 0
    assert json.loads(out) == {
        "run": "first",
        "finished": None,
        **UNKNOWN,
        "submissions": [
            {"run_id": "run-1", "url": f"{kubeflow.url}/#/runs/details/run-1", "state": None, "passes": None}
        ],
        "experiment_id": "experiment-1",
        "pipeline_id": "pipeline-1",
        "version_id": "version-1",
    }
    (run,) = kubeflow.runs
    assert (run["display_name"], run["experiment_id"]) == ("first", "experiment-1")
    assert run["pipeline_version_reference"] == {"pipeline_id": "pipeline-1", "pipeline_version_id": "version-1"}
    sent = run["runtime_config"]["parameters"]
    assert (sent["rounds"], sent["learning_rate"], sent["clients"], sent["config_map"], sent["node_budget"]) == (
        3,
        0.5,
        ["a", "b"],
        "mine",
        900,
    )
    assert sent["memory"] == "8Gi"
    assert "store_secret" not in sent
    kubeflow.runs[0]["state"] = "SUCCEEDED"
    assert submit("--experiment-name", "fedstream")[0] == 0
    assert [len(things) for things in (kubeflow.experiments, kubeflow.pipelines, kubeflow.versions, kubeflow.runs)] == [
        1,
        1,
        1,
        2,
    ]


@pytest.mark.parametrize(
    ("memory", "reason"),
    [
        ("512Mi", "--memory: 512Mi is less than the 1Gi that a step requests before it holds any records; increase it"),
        ("4 GB", "--memory: '4 GB' is not a quantity of memory; write 4Gi for four gibibytes"),
        ("nan", "--memory: 'nan' is not a quantity of memory"),
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
    assert "is already in progress as run-1" in err
    assert "finished and published" in out
    assert len(kubeflow.runs) == 1


def test_a_run_under_way_on_a_fake_api_with_other_values_is_not_touched(submit, kubeflow):
    kubeflow.scripts = [succeeded(FINISHED)]
    submit()
    check_error(
        submit("--rounds", "5"),
        "run 'first' is in progress as run-1 with a different value for rounds (3, now 5)",
        code=2,
    )
    assert len(kubeflow.runs) == 1


def test_a_clone_under_way_on_a_fake_api_is_taken_up_whatever_it_is_called(submit, kubeflow):
    kubeflow.scripts = [succeeded(FINISHED)]
    submit()
    kubeflow.runs[0] |= {"display_name": "Clone of another", "experiment_id": "experiment-9"}
    assert "is already in progress as run-1" in submit("--watch")[2]
    assert len(kubeflow.runs) == 1


def test_values_a_run_under_way_on_a_fake_api_was_not_given_are_the_form_s(submit, kubeflow):
    kubeflow.scripts = [succeeded(FINISHED)]
    submit()
    del kubeflow.runs[0]["runtime_config"]["parameters"]["epochs"]
    check_error(submit("--epochs", "5"), "with a different value for epochs (1, now 5)", code=2)
    assert "is already in progress" in submit()[2]


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
    check_error(
        result,
        "does not allow this caller to list experiments (HTTP 401: Failed to authorize",
        "set KFP_TOKEN to a valid token",
    )
    assert "wrong-secret" not in result[2]
    assert len(kubeflow.asked) == 2


@pytest.mark.parametrize(
    ("answer", "texts"),
    [
        ((404, "404 page not found"), ["does not exist or has no such resource (HTTP 404", "check --host"]),
        ((200, "<html>Log in</html>"), ["answers with a page and is not Kubeflow Pipelines", "KFP_TOKEN"]),
        ((200, {"hello": 1}), ["is not Kubeflow Pipelines"]),
        ((302, "<html>moved</html>"), ["does not allow this caller to report its health (HTTP 302"]),
        ((403, {"message": "RBAC: access denied"}), ["HTTP 403: RBAC: access denied"]),
    ],
    ids=["not-found", "login-page", "other-api", "redirect", "forbidden"],
)
def test_what_is_no_kubeflow_is_told(submit, kubeflow, answer, texts):
    kubeflow.first = [answer]
    check_error(submit(), *texts)


def test_a_fake_api_with_profiles_wants_a_namespace(submit, kubeflow):
    kubeflow.multi_user = True
    check_error(submit(), "this is a multi-user Kubeflow; set the namespace of your profile with --namespace", code=2)
    kubeflow.scripts = [succeeded(FINISHED)]
    assert submit("--namespace", "team")[0] == 0
    assert kubeflow.experiments[0]["namespace"] == "team"


def test_a_parameter_that_a_fake_api_does_not_know_is_told_in_its_words(submit, kubeflow):
    kubeflow.refuses = "rounds"
    check_error(
        submit(),
        "refuses to create run 'first' (HTTP 400): Failed to create a new run: InvalidInputError: "
        "unknown parameter rounds; correct that value",
    )


def test_a_fake_api_in_trouble_is_asked_again(submit, kubeflow):
    kubeflow.scripts = [succeeded(FINISHED)]
    kubeflow.first = [(200, {"multi_user": False}), (503, {"message": "busy"}), (500, "oops")]
    assert submit("--watch")[0] == 0


def test_trouble_of_a_fake_api_that_lasts_is_told(submit, kubeflow):
    kubeflow.first = [(200, {"multi_user": False}), *[(503, {"message": "no endpoints available"})] * 50]
    check_error(submit(), "failed to list experiments (HTTP 503: no endpoints available)")


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
    monkeypatch.setattr(calls, "TIMEOUT", (1, 1))
    kubeflow.first = [1.5, 1.5]
    check_error(submit(), "does not answer (no answer in time)")


def test_a_port_where_nothing_listens_is_told(submit):
    check_error(
        submit("--host", "http://127.0.0.1:1"),
        "Kubeflow Pipelines at http://127.0.0.1:1 does not answer (connection refused)",
        "check --host",
    )


@pytest.mark.parametrize(
    ("words", "texts"),
    [
        (["--host", "kubeflow"], ["--host is 'kubeflow'; expected http://... or https://..."]),
        (["--ca-file", "none.pem"], ["--ca-file is 'none.pem', which does not exist"]),
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
