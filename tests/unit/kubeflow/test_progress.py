"""How a submission's state is read from tasks, as a real Kubeflow Pipelines 2.17 names them."""

import base64
import gzip
import json

import pytest
from kfp_server_api import GoogleRpcStatus, V2beta1PipelineTaskDetail, V2beta1Run, V2beta1RunDetails

from fedstream.kubeflow.package import read_package, shipped_pipeline
from fedstream.kubeflow.progress import nodes_of, progress_of

PACKAGE = read_package(shipped_pipeline())
(CONDITION,) = PACKAGE.conditions


def read(state, *tasks, error=None):
    """Read a run; each task is there twice, as itself and as its first attempt."""
    named = [(name, of) for task in tasks for name, of in (task, (f"{task[0]}(0)", task[1]))]
    details = V2beta1RunDetails(
        task_details=[V2beta1PipelineTaskDetail(display_name=name, state=of) for name, of in named]
    )
    return progress_of(V2beta1Run(state=state, run_details=details, error=error), [], PACKAGE)


def test_rounds_are_counted_by_what_commits_them_each_attempt_once():
    done = read(
        "RUNNING",
        ("evaluate-driver", "SUCCEEDED"),
        ("evaluate", "SUCCEEDED"),
        ("executor", "SUCCEEDED"),
        ("evaluate", "RUNNING"),
        ("executor", "RUNNING"),
    )
    assert (done.passes, done.running) == (1, ("evaluate",))
    assert not done.ended


def test_a_skipped_condition_is_a_slot_without_a_round():
    assert read("SUCCEEDED", (CONDITION, "SUCCEEDED"), (CONDITION, "SKIPPED"), ("open-round", "SUCCEEDED")).unused == 1


@pytest.mark.parametrize(
    ("state", "rounds", "unused", "before", "finished"),
    [
        ("SUCCEEDED", 4, 0, 0, True),
        ("SUCCEEDED", 3, 0, 0, False),
        ("SUCCEEDED", 1, 0, 3, True),
        ("SUCCEEDED", 0, 1, 0, True),
        ("FAILED", 4, 0, 0, False),
        ("FAILED", 0, 3, 0, False),
        ("RUNNING", 4, 1, 0, False),
    ],
)
def test_when_a_run_is_finished(state, rounds, unused, before, finished):
    tasks = [("evaluate", "SUCCEEDED")] * rounds + [(CONDITION, "SKIPPED")] * unused
    assert read(state, *tasks).finishes(before, wanted=4) is finished


def test_failed_steps_are_named_and_what_merely_contains_them_is_not():
    failed = read(
        "FAILED",
        ("local-train", "FAILED"),
        ("executor", "FAILED"),
        ("iteration-item", "FAILED"),
        ("root", "FAILED"),
        ("one-round-driver", "FAILED"),
    )
    assert failed.failed == ("local-train", "one-round-driver")
    assert failed.reason == "failed: local-train, one-round-driver"


def test_a_run_without_tasks_is_pending():
    empty = progress_of(V2beta1Run(), [], PACKAGE)
    assert (empty.state, str(empty)) == ("PENDING", "pending; 0 passes committed")


def test_what_kubeflow_says_is_one_line():
    assert read("FAILED", error=GoogleRpcStatus(message="a\n b")).reason == "no step failed; Kubeflow says: a b"


NODES = {
    "n1": {"displayName": "evaluate", "phase": "Succeeded"},
    "n2": {"displayName": "local-train", "phase": "Error"},
}
READ = [("evaluate", "SUCCEEDED"), ("local-train", "FAILED")]


def test_nodes_are_read_whether_argo_has_compressed_them_or_not():
    compressed = base64.b64encode(gzip.compress(json.dumps(NODES).encode())).decode()
    assert nodes_of(json.dumps({"status": {"nodes": NODES}})) == READ
    assert nodes_of(json.dumps({"status": {"compressedNodes": compressed}})) == READ


@pytest.mark.parametrize(
    "manifest",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"status": {"compressedNodes": "AAAA"}}',
        '{"status": {"nodes": [1]}}',
        '{"status": {"nodes": {"a": {}}}}',
    ],
)
def test_what_is_no_workflow_has_no_nodes(manifest):
    assert nodes_of(manifest) == []


def test_nodes_count_before_the_run_s_own_tasks_which_may_be_old():
    details = V2beta1RunDetails(task_details=[V2beta1PipelineTaskDetail(display_name="evaluate", state="RUNNING")])
    assert (
        progress_of(V2beta1Run(state="SUCCEEDED", run_details=details), [("evaluate", "SUCCEEDED")] * 3, PACKAGE).passes
        == 3
    )


def test_a_run_stands_still_if_neither_its_state_nor_a_task_has_changed():
    def at(state, *nodes):
        return progress_of(V2beta1Run(state=state), list(nodes), PACKAGE)

    before = at("RUNNING", ("local-train", "RUNNING"), ("executor(0)", "PENDING"))
    assert at("RUNNING", ("executor(0)", "PENDING"), ("local-train", "RUNNING")).stands_since(before)
    assert not at("RUNNING", ("local-train", "RUNNING"), ("executor(0)", "RUNNING")).stands_since(before)
    assert not at("CANCELING", ("local-train", "RUNNING"), ("executor(0)", "PENDING")).stands_since(before)
    assert not before.stands_since(None)
    assert at("PENDING").stands_since(at("PENDING"))


def test_whether_a_run_stands_still_is_unknown_by_its_own_tasks_unless_it_was_terminated():
    assert not read("RUNNING", ("local-train", "RUNNING")).stands_since(read("RUNNING", ("local-train", "RUNNING")))
    assert read("CANCELING", ("local-train", "RUNNING")).stands_since(read("CANCELING", ("local-train", "RUNNING")))
