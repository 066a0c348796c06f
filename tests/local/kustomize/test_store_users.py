"""What kustomize/components/secure makes of a real store: a client's key trains,
and can neither write the record nor what is another client's.
"""

import http.client
import importlib.util
import io
import json
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from minio import Minio
from minio.credentials import Credentials
from minio.error import S3Error
from minio.signer import sign_v4_s3
from support.data import blobs, send_clients
from support.minio import MinioServer, find_minio

from fedstream import steps
from fedstream.audit import verify_run
from fedstream.errors import RecordError, SettingsError, StoreUnavailable
from fedstream.local.seaweedfs import SeaweedServer
from fedstream.record.canonical import sha256_hex
from fedstream.record.layout import ModelKeys, RunKeys
from fedstream.settings import KafkaSettings, StoreSettings
from fedstream.steps.refusal import refusing, why_refused
from fedstream.store.objects import ObjectStore
from fedstream.store.state import RunState
from fedstream.stream.send import send_dataset

SECURE = Path(__file__).parents[3] / "kustomize/components/secure"
CLIENTS = ("clients", "hospital-a", "hospital-b")
SECRET = "a-secret-of-{}"
DIGEST = "5" * 64


def script() -> Any:
    spec = importlib.util.spec_from_file_location("store_users", SECURE / "store/store_users.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class SeaweedWithUsers(SeaweedServer):
    """The embedded SeaweedFS, with users from a file."""

    users: dict[str, str]

    def prepare(self) -> list[str]:
        file = self.folder / "s3.json"
        file.write_text(json.dumps(script().seaweedfs(self.users, self.settings)))
        return [*super().prepare(), f"-s3.config={file}"]


@dataclass
class Place:
    """A store with users, of one kind of server; `add` makes one more."""

    settings: StoreSettings
    add: Callable[[str], None]

    def of(self, user: str) -> ObjectStore:
        return ObjectStore(
            replace(self.settings, access_key=script().access_key(user), secret_key=SECRET.format(user)), patience_s=5
        )

    @property
    def admin(self) -> ObjectStore:
        return ObjectStore(self.settings)


def secret_of(users: Iterable[str]) -> dict[str, str]:
    return {user: SECRET.format(user) for user in users}


@pytest.fixture(scope="module")
def minio_place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    find_minio()
    server = MinioServer(tmp_path_factory.mktemp("minio"), bound=True, say=print)
    server.start()
    ObjectStore(server.settings).ensure_bucket()
    assert script().apply(server.settings, secret_of(CLIENTS)) == []
    yield Place(server.settings, lambda user: script().apply(server.settings, secret_of([*CLIENTS, user])))
    server.stop()


@pytest.fixture(scope="module")
def seaweedfs_place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    server = SeaweedWithUsers(tmp_path_factory.mktemp("seaweedfs"), bound=True, say=print)
    server.users = secret_of(CLIENTS)
    server.start()

    def add(user: str) -> None:
        server.users = secret_of([*CLIENTS, user])
        server.stop()
        server.start()

    yield Place(server.settings, add)
    server.stop()


@pytest.fixture(params=["minio", "seaweedfs"])
def place(request: pytest.FixtureRequest) -> Place:
    """Return each kind of server in turn."""
    return request.getfixturevalue(f"{request.param}_place")


ROUND = RunKeys("r").at(1)
RECORD = [
    RunKeys("r").spec,
    ROUND.selection,
    ROUND.verdicts,
    ROUND.weights,
    ROUND.server_state,
    ROUND.broadcast,
    ROUND.aggregation,
    ROUND.commit,
    ROUND.opened("attempt", 0),
    ModelKeys("m").version(1, "manifest.json"),
    ModelKeys("m").latest,
    ModelKeys("m").initial(DIGEST),
    "anything",
]


def own(client: str) -> list[str]:
    arrays = [ROUND.update(client, DIGEST), ROUND.client_state(client, DIGEST)]
    return [ROUND.slice(client), ROUND.manifest(client), *arrays, ROUND.refusal("attempt", client)]


@pytest.mark.parametrize("key", RECORD)
@pytest.mark.parametrize("user", ["clients", "hospital-a"])
def test_a_clients_key_cannot_write_the_record(place: Place, user: str, key: str) -> None:
    with pytest.raises(StoreUnavailable, match="HTTP 403"):
        place.of(user).put_new(key, b"forged")
    with pytest.raises(S3Error, match="AccessDenied"):
        place.of(user)._client.put_object(place.settings.bucket, key, io.BytesIO(b"forged"), 6)
    assert not place.admin.exists(key)


@pytest.mark.parametrize("dots", ["..", "%2E%2E", "%2e%2e/slices/.."])
def test_dots_in_a_key_lead_nowhere(place: Place, dots: str) -> None:
    settings, path = place.of("clients").settings, f"/{place.settings.bucket}/{ROUND.root}/slices/{dots}/commit.json"
    address, now, digest = settings.endpoint_url.removeprefix("http://"), datetime.now(UTC), sha256_hex(b"forged")
    headers = sign_v4_s3(
        method="PUT",
        url=urlsplit(f"http://{address}{path}"),
        region=settings.region,
        headers={"Host": address, "x-amz-date": now.strftime("%Y%m%dT%H%M%SZ"), "x-amz-content-sha256": digest},
        credentials=Credentials(settings.access_key, settings.secret_key),
        content_sha256=digest,
        date=now,
    )
    connection = http.client.HTTPConnection(address, timeout=20)
    connection.request("PUT", path, b"forged", headers)
    assert connection.getresponse().status in (301, 400, 403, 405)
    assert not place.admin.exists(ROUND.commit)


def test_a_clients_key_writes_what_is_its_own_and_reads_it(place: Place) -> None:
    for user, clients in (("clients", ["hospital-x", "hospital-y"]), ("hospital-a", ["hospital-a"])):
        for key in (key for client in clients for key in own(client)):
            assert not place.of(user).exists(key)
            place.of(user).put_new(key, b"own")
            assert place.of(user).get(key) == b"own"
            place.of(user).put_new(key, b"own")


def test_a_sites_key_cannot_touch_what_is_another_clients(place: Place) -> None:
    others = [
        *own("hospital-b"),
        *own("hospital"),
        *own("hospital-a-2"),
        *own("hospital-ab"),
        ROUND.update("hospital-a-b", DIGEST),
        ROUND.client_state("hospital-a-b", DIGEST),
    ]
    for key in others:
        with pytest.raises(StoreUnavailable, match="403"):
            place.of("hospital-a").put_new(key, b"forged")
        place.admin.put_new(key, b"theirs")
        with pytest.raises(StoreUnavailable, match="AccessDenied"):
            place.of("hospital-a").get(key)


def test_a_clients_key_deletes_and_lists_nothing(place: Place) -> None:
    key = ROUND.slice("hospital-b")
    place.admin.put_new(key, b"theirs" if place.admin.exists(key) else b"own")
    for user in CLIENTS:
        client, bucket = place.of(user)._client, place.settings.bucket
        with pytest.raises(S3Error, match="AccessDenied"):
            client.remove_object(bucket, key)
        with pytest.raises(S3Error, match="AccessDenied"):
            list(client.list_objects(bucket, recursive=True))
        with pytest.raises(S3Error, match="AccessDenied"):
            client.remove_bucket(bucket)
    assert place.admin.exists(key)


def test_a_key_of_nobody_does_nothing(place: Place) -> None:
    stranger = Minio(
        place.of("x").settings.endpoint_url.removeprefix("http://"),
        "stranger",
        "stranger-key",
        secure=False,
        region="us-east-1",
    )
    with pytest.raises(S3Error):
        stranger.put_object(place.settings.bucket, ROUND.slice("hospital-a"), io.BytesIO(b"x"), 1)


def test_a_whole_run_trains_with_the_keys_of_clients(
    place: Place, kafka: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One client trains with the key of all clients, the other with its site's;
    ingest uses that of all, and each other step the run's.
    """
    run, (first, second) = f"run-{uuid.uuid4().hex[:6]}", send_clients(kafka, ("a", "hospital-b"))
    evaluation = f"held-{uuid.uuid4().hex[:6]}"
    send_dataset(kafka, evaluation, evaluation, *blobs(9, 30))
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka.bootstrap_servers)

    def be(store: ObjectStore) -> None:
        for name, value in {
            "S3_ENDPOINT_URL": store.settings.endpoint_url,
            "S3_BUCKET": store.settings.bucket,
            "S3_PREFIX": "",
            "AWS_ACCESS_KEY_ID": store.settings.access_key,
            "AWS_SECRET_ACCESS_KEY": store.settings.secret_key,
        }.items():
            monkeypatch.setenv(name, value)

    be(place.admin)
    values = {
        "run": run,
        "model": "builtin:digits-mlp",
        "clients": [first, second],
        "rounds": 2,
        "evaluation_topic": evaluation,
        "batch_size": 10,
    }
    steps.plan_training(values, 10**9)
    place.add(second)
    for number in (1, 2):
        be(place.admin)
        assert steps.open_round(run, 2, "attempt", number)[0] == number
        for client in steps.select_clients(run, number, 2):
            be(place.of("clients"))
            key = steps.ingest_from_kafka(run, number, client, "attempt").slice_key
            assert key
            be(place.of("clients" if client == first else second))
            assert ": trained on " in steps.local_train(run, number, client, key, "attempt")
            assert "had already finished" in steps.local_train(run, number, client, key, "attempt")
        be(place.admin)
        steps.aggregate(run, number, "attempt")
        steps.evaluate(run, number)
    assert verify_run(place.admin, run).ok


def test_a_client_that_cannot_take_part_may_say_so(place: Place, kafka: KafkaSettings) -> None:
    run = RunState(place.of("hospital-a"), "refusing")
    with refusing(run, 1, "hospital-a", "attempt", "train"):
        raise RecordError("no")
    assert why_refused(RunState(place.admin, "refusing"), 1, "hospital-a", "attempt") == "no"


def test_users_follow_the_secret(minio_place: Place) -> None:
    users = {name: SECRET.format(name) for name in CLIENTS if name != "hospital-b"}
    assert "hospital-b" in script().apply(minio_place.settings, users)
    with pytest.raises(StoreUnavailable, match="InvalidAccessKeyId"):
        minio_place.of("hospital-b").get(ROUND.slice("hospital-b"))
    assert script().apply(minio_place.settings, {name: SECRET.format(name) for name in CLIENTS}) == []


@pytest.mark.parametrize(
    ("name", "key", "said"),
    [
        ("a b c", "long-enough", "is not a valid user"),
        ("abc", "short", "8 to 40"),
        ("abc", "long-enough\n", "white space"),
    ],
)
def test_users_that_cannot_be_are_refused(tmp_path: Path, name: str, key: str, said: str) -> None:
    (tmp_path / name).write_text(key)
    with pytest.raises(SettingsError, match=said):
        script().keys(tmp_path)
