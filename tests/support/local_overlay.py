"""kustomize/local on the cluster of the current kubectl context."""

import base64
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from support.kubernetes_api import get, kubectl, until

from fedstream.settings import KafkaSettings, StoreSettings

FOLDER = Path(__file__).parents[2] / "kustomize" / "local"
NAMESPACE = "kafkaml"


@dataclass(frozen=True)
class LocalOverlay:
    """What kustomize/local has brought up, as this machine, outside the cluster, sees it."""

    namespace: str
    kafka: KafkaSettings
    store: StoreSettings

    @property
    def env(self) -> dict[str, str]:
        """The environment of a step on this machine."""
        return {
            "KAFKA_BOOTSTRAP_SERVERS": self.kafka.bootstrap_servers,
            "S3_ENDPOINT_URL": self.store.endpoint_url,
            "S3_BUCKET": self.store.bucket,
            "AWS_ACCESS_KEY_ID": self.store.access_key,
            "AWS_SECRET_ACCESS_KEY": self.store.secret_key,
        }


def install() -> LocalOverlay:
    """Apply it, and return it when it is ready."""
    kubectl("apply", "-k", str(FOLDER))
    for what in ("statefulset/kafka", "statefulset/minio"):
        kubectl("-n", NAMESPACE, "rollout", "status", what, "--timeout=180s", seconds=200)
    kubectl("-n", NAMESPACE, "wait", "--for=condition=complete", "job/bucket", "--timeout=120s", seconds=140)
    addresses = {entry["type"]: entry["address"] for entry in get("node", node_of("kafka-0"))["status"]["addresses"]}
    secret = {
        key: base64.b64decode(value).decode()
        for key, value in get("-n", NAMESPACE, "secret", "mlpipeline-minio-artifact")["data"].items()
    }
    config = get("-n", NAMESPACE, "configmap", "fedstream")["data"]
    store_address = get("-n", NAMESPACE, "service", "minio")["spec"]["clusterIP"]
    return LocalOverlay(
        NAMESPACE,
        KafkaSettings(f"{addresses['InternalIP']}:30092"),
        StoreSettings(f"http://{store_address}:9000", secret["accesskey"], secret["secretkey"], config["S3_BUCKET"]),
    )


def remove() -> None:
    kubectl("delete", "-k", str(FOLDER), "--ignore-not-found", "--wait=false")
    until("namespace gone", lambda: get("namespace", NAMESPACE) is None, 180)


def node_of(pod: str) -> str:
    return str(get("-n", NAMESPACE, "pod", pod)["spec"]["nodeName"])


def run_here(values: dict[str, object], env: dict[str, str]) -> list[str]:
    """Run a spec on this machine, outside the cluster, and return the global models' digests."""
    program = """
import json, sys
from fedstream.local.inprocess import run_inprocess
from fedstream.store.ledger import Ledger
from fedstream.store.objects import ObjectStore
values = json.loads(sys.stdin.read())
run_inprocess(values)
print(json.dumps([commit.weights_digest for commit in Ledger(ObjectStore.from_env(), values["run"]).commits()]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps(values),
        env=env,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
