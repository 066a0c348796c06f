"""kustomize/local on a real Kubernetes whose namespace enforces the restricted pod security standard."""

import uuid

from support.data import send_clients
from support.job_chain import JobChain
from support.kubernetes_api import get, items, kubectl
from support.local_overlay import FOLDER, run_here

from fedstream.store.ledger import Ledger
from fedstream.store.objects import ObjectStore

OWNERS = ("a", "b", "c")


def test_one_apply_from_nothing_brings_everything_up(overlay) -> None:
    assert (
        get("namespace", overlay.namespace)["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    )
    ObjectStore(overlay.store).check()
    assert overlay.store.access_key


def test_a_second_apply_changes_nothing(overlay) -> None:
    before = _generations(overlay.namespace)

    kubectl("apply", "-k", str(FOLDER))

    assert _generations(overlay.namespace) == before
    assert kubectl("diff", "-k", str(FOLDER)) == ""


def test_run_in_pods_ends_in_the_digests_of_a_local_run_though_broker_and_store_are_deleted(overlay) -> None:
    clients = send_clients(overlay.kafka, OWNERS)
    values = {
        "run": f"run-{uuid.uuid4().hex[:8]}",
        "model": "builtin:digits-mlp",
        "clients": clients,
        "rounds": 2,
        "epochs": 2,
    }
    chain = JobChain(overlay.namespace)

    def delete_servers(round: int) -> None:
        if round == 2:
            kubectl("-n", overlay.namespace, "delete", "pod", "kafka-0", "minio-0", "--wait=false")

    version = chain.run(values, delete_servers)

    ours, local = (
        ObjectStore(overlay.store),
        run_here(values, overlay.env | {"S3_PREFIX": f"local-{uuid.uuid4().hex[:8]}"}),
    )
    assert version >= 1
    assert [commit.weights_digest for commit in Ledger(ours, values["run"]).commits()] == local
    assert len(local) == 4, "the initial model, two rounds, the closing round"


def _generations(namespace: str) -> dict[str, int]:
    """Return how often the wish of each object with pods behind it has changed."""
    objects = items("-n", namespace, "statefulsets,jobs,networkpolicies")
    return {f"{it['kind']} {it['metadata']['name']}": it["metadata"]["generation"] for it in objects}
