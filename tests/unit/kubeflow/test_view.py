"""`fedstream submit` through a fake of the Kubernetes API to a fake of Kubeflow's:
what only the cluster tells of a run.
"""

import json
import sys
from datetime import UTC, datetime, timedelta

import pytest
from support.fake_kubeflow import FakeKubeflow, Script, rounds, succeeded
from support.fake_kubernetes import FakeKubernetes, node
from support.submitting import FINISHED, RUN, check_error

from fedstream.cli.app import main
from fedstream.kubeflow import connection

GOING = ("RUNNING", ["plan-training SUCCEEDED", "local-train RUNNING"])
GPU = {"node_selector": {"site": "a"}, "gpu_type": "nvidia.com/gpu", "gpu_count": 1}


@pytest.fixture
def kube(nowhere, monkeypatch, tmp_path):
    with FakeKubernetes().running() as server:
        server.kubeflow = FakeKubeflow()
        server.workflows = {f"run-{number}" for number in range(1, 9)}
        server.objects["nodes"] = [node("n1")]
        monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig(tmp_path)))
        yield server
        server.kubeflow.server_close()


@pytest.fixture
def submit(kube, monkeypatch, capsys):
    """Run the command through the kubeconfig; returns exit code, standard output and standard error."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["fedstream", *RUN, *words])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


def test_a_run_without_a_workflow_on_a_fake_cluster_is_not_taken_up(submit, kube):
    kube.kubeflow.scripts = [Script([GOING])]
    submit()
    assert submit()[0] == 0, "it is under way while its workflow is there"
    kube.workflows.clear()
    check_error(
        submit(),
        "run 'first' is in progress as run-1 according to Kubeflow, but its workflow no longer exists",
        "terminate and archive it in the Kubeflow UI and submit the same run again, or let --until-done do both",
    )
    assert not [asked for asked in kube.asked if "terminate" in asked]
    assert len(kube.kubeflow.runs) == 1


@pytest.mark.parametrize("stumbles", [False, True])
def test_until_done_on_a_fake_cluster_retires_a_run_without_a_workflow(submit, kube, stumbles):
    kube.kubeflow.scripts, kube.kubeflow.stumbles = [Script([GOING]), succeeded(FINISHED)], stumbles
    submit()
    kube.workflows.remove("run-1")
    code, _, err = submit("--until-done")
    assert code == 0, err
    assert "submission run-1: its workflow no longer exists" in err
    assert [(run["run_id"], run["state"], run.get("storage_state")) for run in kube.kubeflow.runs] == [
        ("run-1", "CANCELING", "ARCHIVED"),
        ("run-2", "SUCCEEDED", None),
    ]


def test_until_done_leaves_a_run_alone_that_a_fake_api_does_not_terminate(submit, kube, monkeypatch):
    kube.kubeflow.scripts = [Script([GOING]), succeeded(FINISHED)]
    submit()
    kube.workflows.remove("run-1")
    ended = kube.kubeflow._ended

    def refuses(run_id, how):
        kube.kubeflow.stumbles = True
        try:
            return ended(run_id, how)
        finally:
            kube.kubeflow._terminated.clear()

    monkeypatch.setattr(kube.kubeflow, "_ended", refuses)
    check_error(submit("--until-done"), "failed to terminate run run-1 (HTTP 500")
    assert len(kube.kubeflow.runs) == 1


@pytest.mark.parametrize("until_done", [False, True])
def test_a_workflow_that_vanishes_from_a_fake_cluster_is_noticed_while_following(submit, kube, monkeypatch, until_done):
    kube.kubeflow.scripts = [Script([GOING]), succeeded(FINISHED)]
    look = kube.kubeflow._workflow
    monkeypatch.setattr(kube.kubeflow, "_workflow", lambda run_id: (look(run_id), kube.workflows.discard("run-1"))[0])
    if until_done:
        code, out, err = submit("--until-done", "--json")
        assert code == 0, err
        assert [entry["state"] for entry in json.loads(out)["submissions"]] == ["LOST", "SUCCEEDED"]
    else:
        check_error(
            submit("--watch"), "submission run-1 cannot end: its workflow no longer exists", "let --until-done do both"
        )
        assert len(kube.kubeflow.runs) == 1


@pytest.mark.parametrize("way", ["forbidden", "ended"])
def test_a_workflow_that_a_fake_cluster_does_not_show_is_not_taken_for_gone(submit, kube, way):
    kube.kubeflow.scripts = [Script([GOING] * 3 + [("SUCCEEDED", rounds(FINISHED))])]
    if way == "forbidden":
        kube.forbidden.add("get workflows")
        kube.workflows.clear()
    else:
        kube.workflows.clear()
        kube.kubeflow.scripts = [succeeded(FINISHED)]
    code, out, _ = submit("--until-done")
    assert code == 0
    assert "finished and published" in out
    assert len(kube.kubeflow.runs) == 1


def test_a_run_in_which_nothing_has_changed_for_long_is_told_by_what_a_fake_api_has_last_heard(submit, kube):
    kube.forbidden.add("get workflows")
    kube.kubeflow.scripts = [Script([GOING])]
    submit()
    hours = lambda number: (datetime.now(UTC) - timedelta(hours=number)).strftime("%Y-%m-%dT%H:%M:%SZ")  # noqa: E731
    kube.kubeflow.changed = hours(5)
    check_error(
        submit(), "is stuck (", "nothing has changed for 5 h", "if no pod runs, terminate and archive the submission"
    )
    kube.kubeflow.changed = hours(0.5)
    assert submit()[0] == 0


def test_a_run_in_which_nothing_has_changed_for_long_is_followed_all_the_same_on_a_fake_api(submit, kube):
    kube.kubeflow.scripts = [Script([GOING] * 3 + [("SUCCEEDED", rounds(FINISHED))])]
    submit()
    kube.kubeflow.changed = "2026-01-01T00:00:00Z"
    code, _, err = submit("--until-done")
    assert code == 0
    assert "warning: submission run-1 is stuck" in err


def test_placements_that_fit_no_node_of_a_fake_cluster_are_not_submitted(submit, kube):
    kube.kubeflow.scripts = [succeeded(FINISHED)]
    kube.objects["nodes"] = [node("n1", labels={"site": "a"}), node("n2", labels={"site": "b"})]
    sites = [
        "--clients",
        "a,b,c",
        "--sites",
        json.dumps({"a": {"placement": GPU}, "b": {"placement": {"node_selector": {"site": "b"}}}}),
    ]
    code, out, err = submit(*sites)
    assert (code, out, len(kube.kubeflow.runs)) == (1, "", 0)
    assert "placement of b: fits n2\n" in err
    assert "error: placement of a: it fits no node" in err
    assert "n1: it offers 0 nvidia.com/gpu, not 1; n2: its label site is 'b', not 'a'" in err
    assert "pass --force to submit it anyway" in err
    code, _, err = submit(*sites, "--force")
    assert code == 0
    assert "warning: placement of a: it fits no node" in err
    assert len(kube.kubeflow.runs) == 1


def test_a_run_under_way_on_a_fake_cluster_is_taken_up_though_its_node_is_gone(submit, kube):
    kube.kubeflow.scripts = [succeeded(FINISHED)]
    kube.objects["nodes"] = [node("n1", labels={"site": "a"})]
    words = ["--placement", json.dumps({"node_selector": {"site": "a"}})]
    assert "placement of clients without a site of their own: fits n1" in submit(*words)[2]
    kube.objects["nodes"] = [node("n2")]
    assert submit(*words, "--watch")[0] == 0


def test_who_may_not_list_nodes_of_a_fake_cluster_submits_without_a_word(submit, kube):
    kube.kubeflow.scripts = [succeeded(FINISHED)]
    kube.forbidden.add("get nodes")
    code, _, err = submit("--placement", json.dumps(GPU))
    assert code == 0
    assert "placement" not in err


def waiting(task, message, phase="Pending"):
    name = {"name": f"p-{task}", "annotations": {"workflows.argoproj.io/node-name": f"root.{task}(0).executor(0)"}}
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    return {"metadata": name, "spec": {"containers": []}, "status": {"phase": phase, "conditions": [condition]}}


NO_NODE = "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."


def test_watching_a_fake_cluster_tells_once_why_a_pod_waits(submit, kube):
    kube.objects["namespaces/kubeflow/pods"] = [
        waiting("local-train", NO_NODE),
        waiting("local-train", NO_NODE),
        waiting("old", "gone", "Failed"),
    ]
    kube.kubeflow.scripts = [Script([GOING] * 5 + [("SUCCEEDED", rounds(FINISHED))])]
    code, _, err = submit("--watch")
    assert code == 0
    assert [line for line in err.splitlines() if "waits for a node" in line] == [
        f"local-train waits for a node: {NO_NODE}"
    ]


def test_a_pod_that_gets_its_node_between_two_looks_at_a_fake_cluster_is_not_told(submit, kube, monkeypatch):
    pods = kube.objects["namespaces/kubeflow/pods"] = [waiting("local-train", NO_NODE)]
    look = kube._core
    monkeypatch.setattr(
        kube,
        "_core",
        lambda method, path, *rest: (look(method, path, *rest), path.endswith("kubeflow/pods") and pods.clear())[0],
    )
    kube.kubeflow.scripts = [Script([GOING] * 5 + [("SUCCEEDED", rounds(FINISHED))])]
    assert "waits for a node" not in submit("--watch")[2]


def test_who_may_not_list_pods_of_a_fake_cluster_watches_without_a_word(submit, kube):
    kube.forbidden.add("get pods")
    kube.objects["namespaces/kubeflow/pods"] = [waiting("local-train", NO_NODE)]
    kube.kubeflow.scripts = [Script([GOING] * 5 + [("SUCCEEDED", rounds(FINISHED))])]
    code, _, err = submit("--watch")
    assert code == 0
    assert "waits for a node" not in err
    assert "forbidden" not in err


def test_rounds_and_passes_are_told_apart(submit, kube):
    kube.kubeflow.scripts = [succeeded(FINISHED), succeeded(3)]
    assert (
        "submitted run first as run-1: 3 rounds and a closing pass that only evaluates, 4 passes in total"
        in submit("--watch")[2]
    )
    _, _, err = submit("--watch", "--evaluation-topic", "held-out")
    assert "submitted run first as run-2: 3 rounds\n" in err
    assert "succeeded; 3 passes committed" in err


def test_a_pod_looks_at_its_own_cluster_and_an_address_at_none(nowhere, monkeypatch):
    made = object()
    monkeypatch.setattr(connection, "pod_client", lambda: made)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    assert connection.connect().kube is made
    assert connection.connect().namespace == "kubeflow"
    assert connection.connect(host="http://kubeflow.example.com").kube is None
