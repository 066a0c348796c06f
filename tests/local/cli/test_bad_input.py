"""Bad command lines: one clear line on standard error, nothing on standard output,
2 for a wrong command and 1 for a failed one.
"""

import json
import os
import subprocess
import sys
import uuid

import numpy as np
import pytest
from kafka import KafkaAdminClient, TopicPartition
from support.data import blobs, send_clients
from support.versions import version_manifest

from fedstream.errors import TopicError
from fedstream.record.layout import ModelKeys, RunKeys
from fedstream.settings import KafkaSettings
from fedstream.steps import plan_training
from fedstream.store.objects import ObjectStore
from fedstream.stream import client
from fedstream.stream.reader import topic_bounds
from fedstream.stream.send import send_dataset

NOWHERE = {
    "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
    "S3_ENDPOINT_URL": "http://127.0.0.1:1",
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
}
"""Servers that are not there: what is wrong with a command must come out before they are asked."""

RUN = "run --name r --model builtin:digits-mlp"
SEND = "stream send good.npz --topic t --client c"


def command(line):
    """Split at spaces; a tilde stands for a space inside a word."""
    return [word.replace("~", " ") for word in line.split()]


def check_one_line(said, code, text):
    assert said.code == code, said
    assert said.out == ""
    assert text in said.err
    assert "Traceback" not in said.err
    assert said.err.startswith("error: ")
    assert len(said.err.splitlines()) == 1, said.err


@pytest.fixture
def nowhere(home, monkeypatch):
    for name in [name for name in os.environ if name.startswith(("KAFKA_", "S3_", "AWS_"))]:
        monkeypatch.delenv(name)
    for name, value in NOWHERE.items():
        monkeypatch.setenv(name, value)
    x, y = blobs(0, 5)
    np.savez("good.npz", x=x, y=y)
    np.savez("lacking.npz", z=x)
    np.savez("uneven.npz", x=x, y=y[:3])
    (home / "fake.npz").write_text("no zip")
    (home / "good.csv").write_text("a,b,label\n1,2,0\n3,4,1\n")
    (home / "text.csv").write_text("a,b,label\n1,red,0\n3,blue,1\n")
    (home / "holes.csv").write_text("a,label\n1,0\n,1\n")
    (home / "empty.csv").write_text("")
    (home / "list.json").write_text("[1]")
    return home


WRONG = [
    *(
        (
            f"{words} {name}",
            "is not a valid name; use letters, digits, '.', '_' and '-', at most 63, beginning with a letter or digit",
        )
        for words in ("verify", "verify --json", "rounds", "report", "model show", "model pull")
        for name in ("../x", "a/../../b", "..", "a/b", "²", "a;b", "x" * 64)
    ),
    *((f"model pull m@{number}", "pass NAME, NAME@N") for number in ("²", "01", "0", "-1", "1_0", "9" * 5000)),
    ("fly", "No such command 'fly'; see `fedstream --help`"),
    ("run", "Missing option '--name'; see `fedstream run --help`"),
    ("run --name r", "Missing option '--model'"),
    (f"{RUN} --round 3", "No such option: --round"),
    (f"{RUN} extra", "extra"),
    (f"{RUN} --runner argo", "'argo' is not one of 'inprocess', 'kfp'"),
    (f"{RUN} --node-budget 0", "'--node-budget'"),
    (f"{RUN} --rounds", "--rounds"),
    (f"{RUN} --rounds three", "'--rounds'"),
    (f"{RUN} --rounds 0", "rounds: Input should be greater than or equal to 1 (given: 0)"),
    (f"{RUN} --rounds -2 --json", "rounds: "),
    (f"{RUN} --epochs 0", "epochs: "),
    (f"{RUN} --batch-size 0", "batch_size: "),
    (f"{RUN} --threads 0", "threads: "),
    (f"{RUN} --seed -1", "seed: "),
    (f"{RUN} --learning-rate nan", "learning_rate: Input should be a finite number (given: nan)"),
    (f"{RUN} --learning-rate inf", "learning_rate: "),
    (f"{RUN} --learning-rate -0.1", "learning_rate: "),
    (f"{RUN} --target-value nan", "target_value: "),
    (f"{RUN} --client-fraction 0", "client_fraction: "),
    (f"{RUN} --client-fraction 1.5", "client_fraction: "),
    (f"{RUN} --validation-rate 1", "validation_rate: "),
    (f"{RUN} --min-data 0", "min_data: "),
    (f"{RUN} --round-deadline 0", "round_deadline_s: "),
    (f"{RUN} --strategy FedSGD", "strategy: 'FedSGD' is not known; use one of Bulyan, FedAdagrad"),
    (f"{RUN} --strategy FedSGD --rounds 0", "rounds: "),
    ("run --name a~b --model m", "run: use letters, digits"),
    ("run --name ../up --model m", "run: use letters, digits"),
    ("run --name r --model my~model", "model: use letters, digits"),
    (f"{RUN} --clients plant~7", "clients: client name 'plant 7' is not valid; use letters, digits"),
    (f"{RUN} --clients o'brien", 'clients: client name "o\'brien"'),
    (f'{RUN} --clients quo"te', "clients: client name 'quo\"te'"),
    (f"{RUN} --clients a,b,a", "clients: client 'a' is named twice"),
    (f"{RUN} --clients a,b --min-clients 3", "min_clients is 3, but only 2 clients are named"),
    (f"{RUN} --data-restriction {{", "data_restriction: not valid JSON"),
    (f"{RUN} --data-restriction list.json", "data_restriction: expected a JSON object"),
    (f"{RUN} --sites none.json", "sites: 'none.json' is neither a JSON object nor a file that can be read"),
    (f'{RUN} --sites {{"a":{{"broker":"x:9092"}}}}', "sites.a.broker: "),
    (f'{RUN} --clients a --sites {{"b":{{}}}}', "sites names 'b', which is not among the clients"),
    (f'{RUN} --placement {{"gpu_count":1}}', "set both or neither"),
    (f'{RUN} --placement {{"node_selector":["gpu"]}}', "placement.node_selector: "),
    (f"{RUN} --log /dev/null/log", "cannot write the log '/dev/null/log'"),
    ("rounds", "Missing argument"),
    ("verify r --streams", "--streams"),
    ("model pull mine@-x", "'mine@-x' is not a version; pass NAME, NAME@N with N = 1, 2, ..., or NAME@ALIAS"),
    ("model pull mine@0", "'mine@0'"),
    ("model pull my~model", "model 'my model' is not a valid name"),
    ("model add m.keras --name my~model", "'my model' is not a valid model name"),
    ("model add", "Missing "),
    ("stream send none.npz --topic t --client c", "none.npz: there is no such file"),
    ("stream send list.json --topic t --client c", "files of type '.json' are not known"),
    ("stream send lacking.npz --topic t --client c --json", "lacking.npz: it has z; expected arrays x and y"),
    ("stream send uneven.npz --topic t --client c", "it has 5 samples and 3 labels"),
    ("stream send fake.npz --topic t --client c", "fake.npz: it is not an .npz file"),
    ("stream send text.csv --topic t --client c", "column 'b' is not numeric; encode or drop it"),
    ("stream send holes.csv --topic t --client c", "column 'a' has empty cells"),
    ("stream send empty.csv --topic t --client c", "empty.csv: it is not a .csv file with a header"),
    ("stream send good.csv --topic t --client c --label kind", "there is no column 'kind'; it has a, b, label"),
    (f"{SEND} --shape 5~5", "a sample has 64 values, which cannot take the shape (5, 5)"),
    (f"{SEND} --shape 8x8", "shape '8x8' is not understood"),
    (f"{SEND} --restriction {{", "restriction: not valid JSON"),
    (f"{SEND} --validation-rate 1", "validation_rate"),
    (f"{SEND} --partitions 0", "'--partitions'"),
    ("stream send good.npz --topic a~topic --client c", "'a topic'"),
    ("stream send good.npz --topic t --client plant~7", "client name 'plant 7' cannot be used"),
    ("demo --clients 0", "'--clients'"),
    ("demo --partition halves", "'halves' is not one of"),
    ("demo --dataset none.npz", "none.npz"),
    ("demo --dataset lacking.npz", "lacking.npz"),
    ("demo --name my~demo", "--name 'my demo'"),
]


@pytest.mark.parametrize(("line", "text"), WRONG)
def test_a_wrong_command_is_told_before_any_server_is_asked(nowhere, cli, line, text):
    check_one_line(cli(*command(line)), 2, text)


ENVIRONMENTS = [
    ("rounds r", {"S3_ENDPOINT_URL": ""}, "environment variable S3_ENDPOINT_URL is not set"),
    ("verify r --json", {"AWS_ACCESS_KEY_ID": ""}, "environment variable AWS_ACCESS_KEY_ID is not set"),
    ("report r", {"AWS_SECRET_ACCESS_KEY": ""}, "environment variable AWS_SECRET_ACCESS_KEY is not set"),
    (
        "model list",
        {"S3_ENDPOINT_URL": "127.0.0.1:9000"},
        "S3_ENDPOINT_URL is '127.0.0.1:9000'; set it to http://host:port",
    ),
    (RUN, {"KAFKA_BOOTSTRAP_SERVERS": ""}, "environment variable KAFKA_BOOTSTRAP_SERVERS is not set"),
    ("stream list", {"KAFKA_BOOTSTRAP_SERVERS": ""}, "environment variable KAFKA_BOOTSTRAP_SERVERS is not set"),
    ("stream list", {"KAFKA_BOOTSTRAP_SERVERS": "broker:port"}, "the brokers 'broker:port' cannot be used"),
    (SEND, {"KAFKA_SECURITY_PROTOCOL": "TLS"}, "KAFKA_SECURITY_PROTOCOL is 'TLS'; set it to PLAINTEXT"),
    (SEND, {"KAFKA_SECURITY_PROTOCOL": "SASL_SSL"}, "KAFKA_SASL_MECHANISM"),
    (
        SEND,
        {"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_CA_FILE": "none.pem"},
        "KAFKA_CA_FILE is 'none.pem', and there is no such file",
    ),
]


@pytest.mark.parametrize(("line", "env", "text"), ENVIRONMENTS)
def test_a_wrong_environment_names_the_variable(nowhere, cli, monkeypatch, line, env, text):
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    check_one_line(cli(*command(line)), 2, text)


def test_a_state_folder_that_cannot_be_made_is_named(nowhere, cli, monkeypatch):
    monkeypatch.setenv("FEDSTREAM_HOME", "/dev/null/home")
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS")
    check_one_line(cli("demo"), 1, "cannot create the state folder /dev/null/home")


@pytest.fixture
def impatient(monkeypatch):
    """Wait for absent servers for a moment only."""
    monkeypatch.setattr(ObjectStore.__init__, "__defaults__", (0.3,))
    monkeypatch.setattr(client, "CONNECT_S", 1.0)


ABSENT = [
    ("rounds r", {"S3_ENDPOINT_URL": "http://127.0.0.1:1"}, "the object store at http://127.0.0.1:1 (bucket"),
    ("rounds r --json", {"S3_BUCKET": "not-there"}, "create bucket 'not-there', or set S3_BUCKET to one that exists"),
    (RUN, {"S3_BUCKET": "not-there"}, "bucket 'not-there' does not exist"),
    ("rounds r", {"AWS_SECRET_ACCESS_KEY": "wrong"}, "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
    (f"{RUN} --json", {"AWS_SECRET_ACCESS_KEY": "wrong"}, "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
    (RUN, {"AWS_ACCESS_KEY_ID": "nobody"}, "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
    (
        f"{RUN} --runner kfp --json",
        {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"},
        "the brokers 127.0.0.1:1 do not answer as PLAINTEXT",
    ),
    (
        f"{RUN} --runner inprocess",
        {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"},
        "the brokers 127.0.0.1:1 do not answer as PLAINTEXT",
    ),
    (SEND, {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}, "the brokers 127.0.0.1:1 do not answer as PLAINTEXT"),
    (
        "stream list --json",
        {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"},
        "the brokers 127.0.0.1:1 do not answer as PLAINTEXT",
    ),
]


@pytest.mark.parametrize(("line", "env", "text"), ABSENT)
def test_a_server_that_does_not_work_is_named(nowhere, impatient, platform_env, cli, monkeypatch, line, env, text):
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    check_one_line(cli(*command(line)), 1, text)


@pytest.fixture(scope="module")
def world(platform):
    """A bucket with one planned run, `planned`, of two clients that have announced their streams."""
    env = platform.env | {"S3_PREFIX": f"test-{uuid.uuid4().hex[:12]}/"}
    clients = send_clients(platform.kafka)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in env.items():
            patch.setenv(name, value)
        plan_training({"run": "planned", "model": "builtin:digits-mlp", "clients": clients, "rounds": 2}, 10**9)
    return env, clients


@pytest.fixture
def clients(world, monkeypatch):
    for name, value in world[0].items():
        monkeypatch.setenv(name, value)
    return world[1]


PLANNED = "run --name planned --model builtin:digits-mlp --clients {clients}"
NEW = "run --name new --runner inprocess --model"
MLP = f"{NEW} builtin:digits-mlp"

REFUSED = [
    ("rounds nobody", 1, "there is no run 'nobody' in "),
    ("rounds nobody --json", 1, "there is no run 'nobody' in "),
    ("verify nobody", 1, "there is no run 'nobody' in "),
    ("verify nobody --stream --json", 1, "there is no run 'nobody' in "),
    ("report nobody", 1, "there is no run 'nobody' in "),
    ("report planned -o /dev/null/report.html", 2, "cannot write '/dev/null/report.html'"),
    ("model show nothing", 1, "there is no model 'nothing'; there are builtin:digits-mlp"),
    ("model pull nothing --json", 1, "model 'nothing' has no version; none is published yet"),
    ("model pull builtin:digits-mlp@7", 1, "model 'builtin:digits-mlp' has no version 7"),
    ("model add none.keras --name mine", 2, "'none.keras' is neither a file nor `package.module:function`"),
    ("model add good.csv --name mine", 1, "good.csv"),
    (f"{PLANNED} --rounds 2 --epochs 3", 2, "run 'planned' is on record with another spec: epochs was 1 and is now 3"),
    (f"{PLANNED} --rounds 2 --epochs 3 --runner inprocess --json", 2, "epochs was 1 and is now 3"),
    (f"{PLANNED} --rounds 1", 2, "rounds was 2 and is now 1 (it may only grow)"),
    (f"{NEW} nothing", 1, "there is no model 'nothing'; there are builtin:digits-mlp"),
    (f"{MLP} --clients {{clients}} --target-metric f1", 2, "does not report 'f1'; it reports loss, accuracy"),
    (f"{MLP} --clients stranger", 1, "client 'stranger' cannot take part: it has announced no stream"),
    (f"{MLP} --clients {{clients}} --evaluation-topic silent", 1, "evaluation topic 'silent' has no announcement"),
    (f"{MLP} --min-clients 500", 1, "clients match and the quorum is 500"),
    (f"{MLP} --clients {{clients}} --min-data 61", 1, "announces 60 records, the run asks for at least 61"),
    (
        f'{MLP} --clients {{clients}} --data-restriction {{{{"k":1}}}}',
        1,
        "differ from the run's {\"k\": 1}; to use these records, pass --data-restriction '{}'",
    ),
    (
        f"{NEW} builtin:mnist-2nn --clients {{clients}}",
        1,
        "input (28, 28), which does not fit the stream's records of shape (8, 8)",
    ),
]


@pytest.mark.parametrize(("line", "code", "text"), REFUSED)
def test_what_the_store_and_the_streams_do_not_hold_is_told(nowhere, clients, cli, line, code, text):
    check_one_line(cli(*command(line.format(clients=",".join(clients)))), code, text)


DAMAGE = {
    "nested": b'{"run":' + b"[" * 100_000,
    "binary": b'{"run": "\xff\xfe"}',
    "other": b'{"run": 1}',
    "cut": b'{"run": "x',
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("part", ["spec", "commit"])
def test_a_damaged_object_on_record_is_one_line_whatever_reads_it(nowhere, clients, cli, part, damage):
    store, name, planned = ObjectStore.from_env(), f"hurt-{part}-{damage}", RunKeys("planned")
    keys, spec = RunKeys(name), store.get(planned.spec).replace(b'"run":"planned"', f'"run":"{name}"'.encode())
    store.put_new(keys.spec, DAMAGE[damage] if part == "spec" else spec)
    store.put_new(keys.at(0).commit, DAMAGE[damage] if part == "commit" else store.get(planned.at(0).commit))
    run = f"run --name {name} --model builtin:digits-mlp --rounds 2 --clients {','.join(clients)}"
    for line in (f"rounds {name}", f"report {name}", f"rounds {name} --json", run, f"{run} --runner inprocess"):
        check_one_line(
            cli(*command(line)),
            1,
            f"runs/{name}/{'spec.json is no RunRecord' if part == 'spec' else 'rounds/0000/commit.json is no Commit'}",
        )


def test_folders_of_odd_names_are_no_versions(nowhere, clients, cli):
    store, versions = ObjectStore.from_env(), ModelKeys("builtin:digits-mlp").versions
    for folder in ("²", "01", "-1", "9" * 30, "x"):
        store.put_new(f"{versions}{folder}/manifest.json", b"{}")
    said = cli("model", "list", "--json")
    assert said.code == 0
    assert [model["versions"] for model in json.loads(said.out)["models"] if model["name"] == "builtin:digits-mlp"] == [
        []
    ]


def test_a_file_that_leads_elsewhere_is_not_pulled(nowhere, clients, cli):
    store, keys = ObjectStore.from_env(), ModelKeys("planted")
    planted = version_manifest(model="planted").model_dump(mode="json")
    store.put_new_json(keys.version(1, "manifest.json"), planted)
    for name in ("../../x", "/etc/x", "..", "a/../b", "./a", "a\nb"):
        check_one_line(cli("model", "pull", "planted", "--file", name), 2, "is not a file of a version")
    for number, name in enumerate(("../../x", "/etc/x", ".."), start=2):
        hostile = planted | {"version": number, "files": {name: "0" * 64}}
        store.put_new_json(keys.version(number, "manifest.json"), hostile)
        check_one_line(cli("model", "pull", "planted", "--file", name), 1, "is no name of a version's file")


def deleted(kafka: KafkaSettings, name: str) -> None:
    with KafkaAdminClient(**kafka.client_args()) as admin:
        admin.delete_topics([name])
    for _ in range(100):
        try:
            topic_bounds(kafka, name)
        except TopicError:
            return
    raise AssertionError("the topic is still there")


def forgotten(kafka: KafkaSettings, name: str) -> None:
    with KafkaAdminClient(**kafka.client_args()) as admin:
        admin.delete_records({TopicPartition(name, 0): 10})


STREAMS = [
    ("a deleted topic", lambda x, y: (x, y), deleted, "there is no such topic"),
    ("records no longer retained", lambda x, y: (x, y), forgotten, "no longer"),
    ("a label outside the classes", lambda x, y: (x, y + 9), lambda kafka, name: None, "is no class of model"),
]


@pytest.mark.parametrize(("change", "spoil", "text"), [row[1:] for row in STREAMS], ids=[row[0] for row in STREAMS])
def test_a_stream_that_cannot_be_used_fails_the_round_with_its_reason(
    nowhere, clients, platform, cli, topic, change, spoil, text
):
    send_dataset(platform.kafka, topic, topic, *change(*blobs(0, 20)))
    spoil(platform.kafka, topic)
    said = cli(
        *command(
            f"run --name {topic} --model builtin:digits-mlp --runner inprocess --clients {topic} --rounds 1 --json"
        )
    )
    check_one_line(said, 1, text)
    assert f"0 of 1 updates are accepted and the quorum is 1. {topic}: " in said.err


@pytest.mark.parametrize(
    ("line", "code", "text"),
    [
        (f"{RUN} --rounds 0 --json", 2, "rounds: Input should be greater than or equal to 1"),
        ("fly", 2, "No such command 'fly'"),
        ("model pull mine@-x --json", 2, "pass NAME, NAME@N"),
        ("rounds nobody --json", 1, "there is no run 'nobody'"),
    ],
)
def test_the_same_holds_for_the_installed_command(nowhere, clients, line, code, text):
    done = subprocess.run(
        [sys.executable, "-m", "fedstream.cli", *command(line)], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith("error: ")
    assert text in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_what_goes_well_is_one_json_document(nowhere, clients, cli):
    said = cli("rounds", "planned", "--json")
    assert (said.code, said.err) == (0, "")
    document = json.loads(said.out)
    assert document["run"] == "planned"
    assert {"measured_on", "weights_digest"} <= document["rounds"][0].keys()


def test_the_table_of_rounds_fits_a_terminal(nowhere, clients, cli):
    said = cli("rounds", "planned")
    assert said.code == 0
    head = [column.strip() for column in said.out.splitlines()[2].strip("┃").split("┃")]
    assert head == ["round", "kind", "clients", "records", "time"], (
        "nothing was decided yet, so there is no column for it"
    )
    assert max(map(len, said.out.splitlines())) <= 80
