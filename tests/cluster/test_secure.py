"""kustomize/local-secure on a real Kubernetes: who may do what through its node port,
and a run that passes through it.
"""

import os
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from support.data import send_clients, write_one
from support.job_chain import JobChain
from support.kubernetes_api import get, items, kubectl, until

from fedstream.errors import BrokerError
from fedstream.settings import KafkaSettings
from fedstream.stream import client
from fedstream.stream.announcement import DATA_CONTROL_TOPIC, MODEL_CONTROL_TOPIC
from fedstream.stream.control import read_announcements

KUSTOMIZE = Path(__file__).parents[2] / "kustomize"
NAMESPACE, PORT = "kafkaml-secure", 30093
SECRETS = ("kafka-tls", "kafka-admin", "kafka-users", "fedstream-kafka", "store-users")
BESIDE_LOCAL = f"""
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: {NAMESPACE}
resources: [FOLDER]
patches:
  - target: {{kind: Service, name: kafka-outside}}
    patch: |
      - {{op: replace, path: /spec/ports/0/nodePort, value: {PORT}}}
  - target: {{kind: StatefulSet, name: kafka}}
    patch: |
      kind: StatefulSet
      metadata: {{name: kafka}}
      spec: {{template: {{spec: {{containers: [{{name: kafka, env: [{{name: OUTSIDE_PORT, value: "{PORT}"}}]}}]}}}}}}
"""


@dataclass(frozen=True)
class Secured:
    """The overlay's broker from outside the cluster, and the files of its secrets."""

    folder: Path
    secrets: Path
    anyone: KafkaSettings

    def user(self, name: str) -> KafkaSettings:
        file = self.secrets / ("fedstream-kafka/password" if name == "fedstream" else f"kafka-users/{name}")
        return replace(self.anyone, username=name, password=file.read_text())

    def make_secrets(self, *owners: str) -> None:
        """Make the files, and the cluster's secrets of them."""
        host = self.anyone.bootstrap_servers.partition(":")[0]
        script = KUSTOMIZE / "components/secure/make-secrets"
        subprocess.run([script, "-n", NAMESPACE, "-a", host, self.secrets, *owners], check=True, timeout=60)
        for name in SECRETS:
            made = kubectl(
                "-n",
                NAMESPACE,
                "create",
                "secret",
                "generic",
                name,
                f"--from-file={self.secrets / name}",
                "--dry-run=client",
                "-o",
                "yaml",
            )
            kubectl("apply", "-f", "-", stdin=made)

    def apply(self) -> None:
        kubectl("apply", "-k", str(self.folder))


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("beside-local")
    (folder / "kustomization.yaml").write_text(
        BESIDE_LOCAL.replace("FOLDER", os.path.relpath(KUSTOMIZE / "local-secure", folder))
    )
    (node,) = [item for item in items("nodes") if "kwok.x-k8s.io/node" not in item["metadata"].get("annotations", {})]
    (host,) = [entry["address"] for entry in node["status"]["addresses"] if entry["type"] == "InternalIP"]
    secrets = tmp_path_factory.mktemp("secrets")
    ours = Secured(
        folder, secrets, KafkaSettings(f"{host}:{PORT}", "SASL_SSL", "SCRAM-SHA-512", ca_file=str(secrets / "ca.crt"))
    )
    ours.apply()
    ours.make_secrets("hospital-a", "hospital-b")
    for what in ("statefulset/kafka", "statefulset/minio"):
        kubectl("-n", NAMESPACE, "rollout", "status", what, "--timeout=180s", seconds=200)
    kubectl(
        "-n",
        NAMESPACE,
        "wait",
        "--for=condition=complete",
        "job/bucket",
        "job/kafka-users",
        "job/store-users",
        "--timeout=180s",
        seconds=200,
    )
    yield ours
    kubectl("delete", "-k", str(folder), "--ignore-not-found", "--wait=false")
    until("namespace gone", lambda: get("namespace", NAMESPACE) is None, 180)


def test_a_second_apply_changes_nothing(secured: Secured) -> None:
    assert kubectl("diff", "-k", str(secured.folder)) == ""


def test_an_owner_outside_the_cluster_writes_only_its_own_topics_and_reads_none(secured: Secured) -> None:
    a, b = secured.user("hospital-a"), secured.user("hospital-b")
    write_one(a, "hospital-a.ward7")
    write_one(b, "hospital-b.ward1")
    write_one(a, DATA_CONTROL_TOPIC)
    write_one(secured.user("fedstream"), MODEL_CONTROL_TOPIC)
    assert read_announcements(secured.user("fedstream"), "hospital-b.ward1", 20)
    assert read_announcements(a, MODEL_CONTROL_TOPIC, 20)
    for topic in ("hospital-b.ward1", "ward7", MODEL_CONTROL_TOPIC):
        with pytest.raises(BrokerError, match=f"user 'hospital-a' may not use topic '{topic}'"):
            write_one(a, topic)
    for topic in ("hospital-a.ward7", "hospital-b.ward1", DATA_CONTROL_TOPIC):
        with pytest.raises(BrokerError, match=f"user 'hospital-a' may not use topic '{topic}'"):
            read_announcements(a, topic, 20)


@pytest.mark.parametrize(
    "wrong", [{"password": "wrong-password"}, {"username": "stranger"}, {"security_protocol": "PLAINTEXT"}]
)
def test_who_does_not_prove_who_it_is_is_refused(
    secured: Secured, wrong: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "CONNECT_S", 3.0)
    with pytest.raises(BrokerError, match=r"refuse the credentials|do not answer as|speaks TLS, but"):
        write_one(replace(secured.user("hospital-a"), **wrong), "hospital-a.ward7")


def test_a_run_in_pods_passes_through_it(secured: Secured) -> None:
    clients = [
        name for owner in ("hospital-a", "hospital-b") for name in send_clients(secured.user(owner), (f"{owner}.ward",))
    ]
    values = {
        "run": f"run-{uuid.uuid4().hex[:8]}",
        "model": "builtin:digits-mlp",
        "clients": clients,
        "rounds": 1,
        "epochs": 1,
    }
    assert JobChain(NAMESPACE).run(values, lambda _: None) == 1
    assert read_announcements(secured.user("hospital-a"), MODEL_CONTROL_TOPIC, 20)


def test_an_owner_is_added_and_another_removed_by_the_secrets_alone(secured: Secured) -> None:
    leaver = secured.user("hospital-b")
    (secured.secrets / "kafka-users/hospital-b").unlink()
    secured.make_secrets("hospital-c")
    kubectl("-n", NAMESPACE, "delete", "job", "kafka-users")
    secured.apply()
    kubectl("-n", NAMESPACE, "wait", "--for=condition=complete", "job/kafka-users", "--timeout=120s", seconds=140)
    assert "removed: hospital-b" in kubectl("-n", NAMESPACE, "logs", "job/kafka-users")
    write_one(secured.user("hospital-c"), "hospital-c.ward1")
    with pytest.raises(BrokerError, match="refuse the credentials"):
        write_one(leaver, "hospital-b.ward1")


def test_kafkas_own_tools_are_admin_in_the_brokers_pod(secured: Secured) -> None:
    tool = "java -Xmx64m -cp '/opt/kafka/libs/*' org.apache.kafka.tools.AclCommand --bootstrap-server localhost:9092"
    shell = ("-n", NAMESPACE, "exec", "kafka-0", "--", "sh", "-c")
    assert "name=hospital-a., patternType=PREFIXED" in kubectl(
        *shell, f"{tool} --command-config /etc/kafka-secure/admin.properties --list"
    )


def test_no_password_is_in_a_log_an_argument_or_a_config_map(secured: Secured) -> None:
    passwords = [
        path.read_text()
        for path in secured.secrets.glob("*/*")
        if path.name == "password" or path.parent.name == "kafka-users"
    ]
    seen = kubectl("-n", NAMESPACE, "get", "pods,configmaps,jobs,statefulsets", "-o", "yaml")
    seen += kubectl("-n", NAMESPACE, "logs", "kafka-0") + kubectl("-n", NAMESPACE, "logs", "job/kafka-users")
    seen += kubectl(
        "-n",
        NAMESPACE,
        "exec",
        "kafka-0",
        "--",
        "sh",
        "-c",
        "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ /tmp/server.properties | tr '\\0' '\\n'",
    )
    assert [word for word in passwords if word in seen] == []
