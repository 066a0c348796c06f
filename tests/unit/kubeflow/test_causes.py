"""Why a submission failed, by its pods: what Argo calls them, and what they said last."""

from types import SimpleNamespace

import pytest
from support.fake_kubernetes import FakeKubernetes, container

from fedstream.kubeflow.causes import causes, last_words, task_of
from fedstream.kubeflow.kube import kube_client

INSIDE = "federated-training-9j4nr(0).root(0).slot(0).iteration-iterations(0:0)(0).iteration-item(0).condition-2(0)"


@pytest.mark.parametrize(
    ("path", "task"),
    [
        (f"{INSIDE}.one-round-driver(0)", "one-round-driver"),
        (f"{INSIDE}.one-round(0).local-train(0).executor(0)", "local-train"),
        ("plan-training.executor", "plan-training"),
    ],
)
def test_a_pod_is_named_by_its_task(path, task):
    pod = SimpleNamespace(metadata=SimpleNamespace(annotations={"workflows.argoproj.io/node-name": path}, name="p"))
    assert task_of(pod) == task


def test_a_pod_of_nobody_keeps_its_name():
    assert task_of(SimpleNamespace(metadata=SimpleNamespace(annotations=None, name="p"))) == "p"


ARGO = 'time=2026 level=ERROR msg="cannot save parameter" argo=true\nError: exit status 1\n'


@pytest.mark.parametrize(
    ("log", "words"),
    [
        (f"Traceback\n2026 ERROR step failed: aggregate: quorum missed\nfoo\n{ARGO}", "aggregate: quorum missed"),
        (f"2026 ERROR step refused: plan_training: rounds\n{ARGO}", "plan_training: rounds"),
        (f"hello\nKFP driver: no input\n{ARGO}", "KFP driver: no input"),
        (f"{'x' * 500}end\n{ARGO}", f"... {'x' * 297}end"),
        (ARGO, ""),
        ("", ""),
    ],
)
def test_the_last_words_are_the_step_s_not_argo_s(log, words):
    assert last_words(log) == words


@pytest.fixture
def kube(nowhere, monkeypatch, tmp_path):
    with FakeKubernetes().running() as server:
        monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig(tmp_path)))
        yield server


def pod(name, **status):
    return {
        "metadata": {
            "name": name,
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "annotations": {"workflows.argoproj.io/node-name": f"root.{name}(0).executor(0)"},
        },
        "spec": {"containers": []},
        "status": {"phase": "Failed"} | status,
    }


def test_failed_pods_of_a_fake_cluster_tell_why(kube):
    killed = container("main", code=137)
    killed["state"]["terminated"]["reason"] = "OOMKilled"
    kube.objects["namespaces/team/pods"] = [
        pod("local-train", containerStatuses=[killed]),
        pod("ingest", reason="Evicted", message="The node was low on memory."),
        pod("aggregate", containerStatuses=[container("main", code=1)]),
        pod("evaluate", containerStatuses=[container("main", code=1)]),
        {**pod("fine"), "status": {"phase": "Succeeded"}},
    ]
    kube.log = "2026 ERROR step failed: aggregate: 1 of 3 updates, and min_clients is 2"
    assert causes(kube_client(), "team", "run-1") == [
        "local-train: it was killed because it used more memory than its limit",
        "ingest: Evicted: The node was low on memory.",
        "aggregate: aggregate: 1 of 3 updates, and min_clients is 2",
    ]


def test_who_may_not_look_at_pods_of_a_fake_cluster_hears_no_causes(kube):
    kube.forbidden.add("get pods")
    assert causes(kube_client(), "team", "run-1") == []
