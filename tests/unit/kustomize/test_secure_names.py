"""The component `secure`: what its broker, its Job, its secrets and the pipeline call the same thing."""

from __future__ import annotations

import re
import stat
import subprocess
from pathlib import Path

import pytest
from fedstream.pipelines.wiring import KAFKA_FILES
from support.rendering import FOLDER, named, of_kind, pod_of, rendered

MAKE_SECRETS = FOLDER / "components/secure/make-secrets"
MADE_FOR_B = {
    "kafka-users/hospital-b",
    "store-users/hospital-b",
    "fedstream-store-hospital-b/accesskey",
    "fedstream-store-hospital-b/secretkey",
}


def make_secrets(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([MAKE_SECRETS, *arguments], capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("secrets")
    done = make_secrets("-a", "10.0.0.5", "-a", "broker.example.com", folder, "hospital-a")
    assert done.returncode == 0, done.stderr
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def openssl(*arguments: str | Path) -> str:
    return subprocess.run(["openssl", *arguments], capture_output=True, text=True, timeout=30, check=True).stdout


def test_the_secrets_files_are_those_that_pods_read(secrets: Path) -> None:
    objects = rendered("local-secure")
    pods = [
        pod_of(named(objects, "StatefulSet", "kafka")),
        *(pod_of(named(objects, "Job", name)) for name in ("kafka-users", "store-users")),
    ]
    mounted = {volume["secret"]["secretName"] for pod in pods for volume in pod["volumes"] if "secret" in volume}
    assert mounted == {
        folder.name
        for folder in secrets.iterdir()
        if folder.is_dir() and not folder.name.startswith("fedstream-store-")
    }
    (config,) = [item for item in of_kind(objects, "ConfigMap") if item["metadata"]["name"].startswith("kafka-secure-")]
    paths = {mount["mountPath"]: mount["name"] for mount in pods[0]["containers"][0]["volumeMounts"]}
    volumes = {volume["name"]: volume.get("secret", {}).get("secretName") for volume in pods[0]["volumes"]}
    read = re.findall(r"\$\{file:([^:]+):([^}]+)\}", config["data"]["broker.properties"])
    assert read
    for path, name in read:
        assert (secrets / volumes[paths[path]] / name).is_file()


def test_the_runs_secret_has_the_keys_and_the_place_that_the_pipeline_knows(secrets: Path) -> None:
    assert sorted(path.name for path in (secrets / "fedstream-kafka").iterdir()) == ["ca.crt", "password", "username"]
    for overlay in ("local-secure", "local-secure-kubeflow"):
        data = named(rendered(overlay), "ConfigMap", "fedstream")["data"]
        assert data["KAFKA_SECURITY_PROTOCOL"] == "SASL_SSL"
        assert data["KAFKA_SASL_MECHANISM"] == "SCRAM-SHA-512"
        assert data["KAFKA_CA_FILE"] == f"{KAFKA_FILES}/ca.crt"


def test_pods_of_clients_get_the_key_that_the_store_knows_under_the_names_that_the_pipeline_reads(
    secrets: Path,
) -> None:
    for user, access_key in (("clients", "clients"), ("hospital-a", "client-hospital-a")):
        assert (secrets / f"fedstream-store-{user}/accesskey").read_text() == access_key
        key = (secrets / f"fedstream-store-{user}/secretkey").read_text()
        assert key == (secrets / "store-users" / user).read_text()
        assert len(key) == 40


def test_only_the_owner_of_the_files_may_read_them_and_git_ignores_them(secrets: Path) -> None:
    for path in [secrets, *secrets.rglob("*")]:
        if path != secrets:
            assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path
    assert (secrets / ".gitignore").read_text() == "*\n"


def test_the_authoritys_key_is_in_no_secret(secrets: Path) -> None:
    key = (secrets / "ca.key").read_bytes()
    assert [name for name, data in contents(secrets).items() if data == key] == ["ca.key"]


@pytest.mark.parametrize(
    ("flag", "name"),
    [
        ("-verify_hostname", "kafka"),
        ("-verify_hostname", "kafka.kafkaml.svc"),
        ("-verify_hostname", "kafka-0.kafka-brokers.kafkaml.svc"),
        ("-verify_hostname", "broker.example.com"),
        ("-verify_ip", "10.0.0.5"),
        ("-verify_ip", "127.0.0.1"),
    ],
)
def test_the_brokers_certificate_is_good_for_every_name_it_advertises(secrets: Path, flag: str, name: str) -> None:
    openssl(
        "verify",
        "-x509_strict",
        "-purpose",
        "sslserver",
        "-CAfile",
        secrets / "ca.crt",
        flag,
        name,
        secrets / "kafka-tls/tls.crt",
    )


def test_made_again_keeps_passwords_and_authority_adds_owners_and_renews_the_certificate(tmp_path: Path) -> None:
    assert make_secrets(tmp_path, "hospital-a").returncode == 0
    before = contents(tmp_path)
    assert make_secrets("-n", "other", tmp_path, "hospital-b").returncode == 0
    after = contents(tmp_path)
    assert {name for name in after if before.get(name) != after[name]} == {
        *MADE_FOR_B,
        "kafka-tls/tls.crt",
        "kafka-tls/tls.key",
    }
    passwords = [
        data
        for name, data in after.items()
        if name.endswith("password") or name.startswith(("kafka-users/", "store-users/"))
    ]
    assert len(set(passwords)) == 7
    assert all(re.fullmatch(rb"[0-9a-f]{48}|[0-9a-f]{40}", word) for word in passwords)
    assert "DNS:kafka.other.svc" in openssl(
        "x509", "-in", tmp_path / "kafka-tls/tls.crt", "-noout", "-ext", "subjectAltName"
    )


def test_made_again_leaves_the_certificate_of_another_authority(tmp_path: Path) -> None:
    assert make_secrets(tmp_path, "hospital-a").returncode == 0
    for name in ("kafka-tls/ca.crt", "fedstream-kafka/ca.crt", "kafka-tls/tls.crt"):
        (tmp_path / name).write_text("another authority's")
    before = contents(tmp_path)
    done = make_secrets(tmp_path, "hospital-b")
    assert done.returncode == 0, done.stderr
    assert "kafka-tls is left as it is" in done.stdout
    after = contents(tmp_path)
    assert {name for name in after if before.get(name) != after[name]} == MADE_FOR_B


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "usage: make-secrets"),
        (["-x", "f"], "usage: make-secrets"),
        (["f", "Ward 7"], "'Ward 7'"),
        (["f", "admin"], "'admin'"),
        (["f", "clients"], "'clients'"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = make_secrets(*arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert not list(tmp_path.iterdir())
