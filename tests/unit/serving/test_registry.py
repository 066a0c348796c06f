"""Registering a published version, against a fake registry that answers as Kubeflow Model Registry does."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support.registry import FakeRegistry, serving_registry
from support.versions import version_manifest

from fedstream.errors import RegistryError, SettingsError
from fedstream.serving import registry
from fedstream.serving.registry import ModelRegistry
from fedstream.settings import RegistrySettings

MANIFEST = version_manifest(model="builtin:digits-mlp", version=3, round=2, metrics={"accuracy": 0.9})
ABSENT = "is '/absent', which does not exist or cannot be read"
URI = "s3://bucket/models/builtin-digits-mlp/versions/3/saved_model"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "TRIES", registry.TRIES.new(backoff_factor=0))


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with serving_registry() as server:
        yield server


def register(fake: FakeRegistry, digest: str = "f" * 64, **changes: Any) -> str:
    return ModelRegistry(fake.settings, timeout_s=2.0).register(MANIFEST.model_copy(update=changes), digest, URI)


def test_a_version_is_registered_with_its_lineage_by_a_fake_registry(fake: FakeRegistry) -> None:
    version = register(fake)
    (model,), (made,), (artifact,) = fake.of("registered_model"), fake.of("model_version"), fake.of("model_artifact")
    assert (model["name"], made["name"], artifact["name"]) == ("builtin:digits-mlp", "3", "builtin:digits-mlp-3")
    assert (made["id"], made["parent"], artifact["parent"]) == (version, model["id"], version)
    assert made["externalId"] == artifact["externalId"] == "fedstream:" + "f" * 64
    assert artifact["uri"] == URI
    assert artifact["modelFormatName"] == "tensorflow"
    assert made["customProperties"]["weights_digest"] == {
        "metadataType": "MetadataStringValue",
        "string_value": "e" * 64,
    }
    assert made["customProperties"]["accuracy"] == {"metadataType": "MetadataDoubleValue", "double_value": 0.9}
    assert made["customProperties"]["round"] == {"metadataType": "MetadataIntValue", "int_value": "2"}
    assert {token for *_, token in fake.requests} == {""}


def test_registered_again_nothing_is_doubled_in_a_fake_registry(fake: FakeRegistry) -> None:
    assert register(fake) == register(fake)
    assert [thing["kind"] for thing in fake.things] == ["registered_model", "model_version", "model_artifact"]


def test_a_fake_registry_that_was_left_half_way_is_completed(fake: FakeRegistry) -> None:
    register(fake)
    del fake.things[-1]
    register(fake)
    assert [thing["kind"] for thing in fake.things] == ["registered_model", "model_version", "model_artifact"]


def test_the_next_version_of_a_model_joins_it_in_a_fake_registry(fake: FakeRegistry) -> None:
    register(fake)
    register(fake, version=4, digest="a" * 64)
    assert [thing["name"] for thing in fake.of("model_version")] == ["3", "4"]
    assert len(fake.of("registered_model")) == 1


def test_many_at_once_agree_in_a_fake_registry(fake: FakeRegistry) -> None:
    with ThreadPoolExecutor(8) as pool:
        versions = set(pool.map(lambda _: register(fake), range(8)))
    assert len(versions) == 1
    assert len(fake.things) == 3


def test_an_answer_of_a_fake_registry_that_gets_lost_is_asked_for_again(fake: FakeRegistry) -> None:
    fake.lost_answers = 1
    register(fake)
    assert len(fake.things) == 3


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_fake_registry_that_is_away_for_a_moment_is_waited_for(fake: FakeRegistry, status: int) -> None:
    fake.faults = [(status, b"")] * 2
    register(fake)
    assert len(fake.things) == 3


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (
            500,
            b"boom",
            "answers GET registered_model with HTTP 500: boom; check MODEL_REGISTRY_URL and the registry's log",
        ),
        (
            401,
            b"",
            "rejects the request (HTTP 401); check MODEL_REGISTRY_TOKEN_FILE, "
            "and that its account is allowed to write there",
        ),
        (403, b"", "rejects the request (HTTP 403); check MODEL_REGISTRY_TOKEN_FILE"),
        (400, b"no", "answers GET registered_model with HTTP 400: no; check MODEL_REGISTRY_URL"),
        (302, b"", "answers GET registered_model with HTTP 302"),
        (200, b"<html>", "answers GET registered_model with text that is not JSON: <html>; check MODEL_REGISTRY_URL"),
        (200, b'{"name": 1}', 'returns no ID: {"name": 1}; check MODEL_REGISTRY_URL'),
        (200, b'["id"]', 'returns no ID: ["id"]'),
    ],
)
def test_what_a_fake_registry_says_is_told(fake: FakeRegistry, status: int, body: bytes, said: str) -> None:
    fake.faults = [(status, body)] * 6
    with pytest.raises(RegistryError) as raised:
        register(fake)
    assert f"the model registry at {fake.settings.url} {said}" in str(raised.value)
    assert str(raised.value).endswith("The version is published in the store; run publish again to register it")


def test_another_version_of_that_number_in_a_fake_registry_is_an_error(fake: FakeRegistry) -> None:
    register(fake)
    with pytest.raises(RegistryError, match=r"has another model version named '3'; archive or rename that one"):
        register(fake, digest="a" * 64)
    assert len(fake.things) == 3


def test_a_fake_registry_that_is_silent_is_not_waited_for_long(fake: FakeRegistry) -> None:
    fake.delay_s = 0.15
    with pytest.raises(
        RegistryError, match=r"does not answer .*timed out.*; check MODEL_REGISTRY_URL and that it runs"
    ):
        ModelRegistry(fake.settings, timeout_s=0.05).register(MANIFEST, "f" * 64, URI)


def test_a_registry_that_is_not_there(fake: FakeRegistry) -> None:
    fake.server_close()
    with pytest.raises(RegistryError, match=r"does not answer"):
        register(fake)


def test_the_token_is_read_from_its_file_for_each_request_of_a_fake_registry(
    fake: FakeRegistry, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("secret\n")
    client = ModelRegistry(RegistrySettings(fake.settings.url, str(token)))
    client.register(MANIFEST, "f" * 64, URI)
    token.write_text("renewed")
    client.register(MANIFEST, "f" * 64, URI)
    assert [said for *_, said in fake.requests] == ["Bearer secret"] * 6 + ["Bearer renewed"] * 3
    token.unlink()
    with pytest.raises(
        RegistryError, match=r"needs a token, but '.*token' cannot be read .*; check MODEL_REGISTRY_TOKEN_FILE"
    ):
        client.register(MANIFEST, "f" * 64, URI)


def test_settings_come_from_the_environment(tmp_path: Path) -> None:
    assert RegistrySettings.from_env({}) is None
    assert RegistrySettings.from_env({"MODEL_REGISTRY_URL": " "}) is None
    settings = RegistrySettings.from_env(
        {"MODEL_REGISTRY_URL": "https://registry:8443/", "MODEL_REGISTRY_TOKEN_FILE": str(tmp_path)}
    )
    assert settings == RegistrySettings("https://registry:8443", str(tmp_path))


@pytest.mark.parametrize(
    ("env", "said"),
    [
        (
            {"MODEL_REGISTRY_URL": "registry:8080"},
            "MODEL_REGISTRY_URL is 'registry:8080'; set it to http://host:port or https://host:port",
        ),
        ({"MODEL_REGISTRY_URL": "http://registry/api"}, "set it to http://host:port"),
        (
            {"MODEL_REGISTRY_URL": "http://[registry"},
            "MODEL_REGISTRY_URL is 'http://[registry': Invalid IPv6 URL; set it to",
        ),
        (
            {"MODEL_REGISTRY_URL": "http://me:word@registry"},
            "MODEL_REGISTRY_URL contains a user name or a password, which would appear in logs",
        ),
        (
            {"MODEL_REGISTRY_URL": "http://r", "MODEL_REGISTRY_TOKEN_FILE": "/absent"},
            f"MODEL_REGISTRY_TOKEN_FILE {ABSENT}",
        ),
        ({"MODEL_REGISTRY_URL": "http://r", "MODEL_REGISTRY_CA_FILE": "/absent"}, f"MODEL_REGISTRY_CA_FILE {ABSENT}"),
    ],
)
def test_settings_that_cannot_be_are_named(env: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError) as raised:
        RegistrySettings.from_env(env)
    assert said in str(raised.value)
    assert "word" not in str(raised.value).replace("password", "")
