"""What is ours and what is somebody else's; nothing is started here."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fedstream.cli.services import services_app
from fedstream.errors import PlatformError, UsageError
from fedstream.local import paths, seaweedfs
from fedstream.local.kafka import KafkaServer
from fedstream.local.platform import Platform, _variables
from fedstream.privacy.secret import FILE_VARIABLE, noise_secret
from fedstream.settings import KafkaSettings

KAFKA = {
    "KAFKA_BOOTSTRAP_SERVERS": "kafka.example:9093",
    "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
    "KAFKA_SASL_MECHANISM": "PLAIN",
}
KAFKA |= {"KAFKA_USERNAME": "u", "KAFKA_PASSWORD": "p"}
STORE = {
    "S3_ENDPOINT_URL": "https://s3.example",
    "AWS_ACCESS_KEY_ID": "a",
    "AWS_SECRET_ACCESS_KEY": "s",
    "S3_BUCKET": "b",
    "S3_PREFIX": "team",
}


def remember_ports(folder: Path) -> None:
    """Leave behind what an earlier start leaves."""
    for platform_part in (Platform(folder, environ={}).kafka, Platform(folder, environ={}).seaweedfs):
        platform_part.folder.mkdir(parents=True)
        ports = {name: 20_000 + number for number, name in enumerate(platform_part.port_names)}
        (platform_part.folder / "ports.json").write_text(json.dumps(ports))


def test_what_the_environment_names_is_used_and_nothing_is_started(tmp_path: Path) -> None:
    with Platform(tmp_path / "state", environ=KAFKA | STORE) as platform:
        assert platform.env == KAFKA | STORE
        assert platform.kafka_settings.bootstrap_servers == "kafka.example:9093"
        assert platform.store_settings.bucket == "b"
        assert platform.own == []
        assert [(status.external, status.running) for status in platform.status()] == [(True, True), (True, True)]


def test_the_embedded_addresses_in_the_environment_are_still_ours(tmp_path: Path) -> None:
    remember_ports(tmp_path)
    environ = {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:20000", "S3_ENDPOINT_URL": "http://127.0.0.1:20000/"}
    ours = Platform(tmp_path, environ=environ)
    assert not ours.external_kafka
    assert not ours.external_store
    others = Platform(tmp_path, environ={name: value.replace("20000", "20001") for name, value in environ.items()})
    assert others.external_kafka
    assert others.external_store


def test_variables_of_a_platform_that_is_down_are_refused_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(
        PlatformError, match="Apache Kafka are not running; start the embedded platform with `fedstream services up`"
    ):
        _ = Platform(tmp_path, environ={}).env
    with pytest.raises(PlatformError, match="SeaweedFS is not running"):
        _ = Platform(tmp_path, environ=KAFKA).env


def test_credentials_are_random_private_and_made_once(tmp_path: Path) -> None:
    first, second = (Platform(tmp_path / name, environ={}).store_settings for name in ("one", "two"))
    assert first.secret_key != second.secret_key
    assert len(first.secret_key) >= 30
    assert Platform(tmp_path / "one", environ={}).store_settings == first
    path = tmp_path / "one" / "seaweedfs" / "credentials.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_text("{}")
    with pytest.raises(PlatformError, match="remove it to create new ones"):
        _ = Platform(tmp_path / "one", environ={}).store_settings


def test_the_secret_of_the_noise_is_a_private_file_that_no_variable_contains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remember_ports(tmp_path)
    platform = Platform(tmp_path, environ={})
    for part in (platform.kafka, platform.seaweedfs):
        monkeypatch.setattr(type(part), "running", True)
    variables = platform.env
    file = Path(variables[FILE_VARIABLE])
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(noise_secret(variables) or b"") == 32
    assert file.read_text().strip() not in str(variables)
    own = Platform(tmp_path, environ={FILE_VARIABLE: "/mine"})
    assert own.env[FILE_VARIABLE] == "/mine"


def test_the_store_program_is_found_without_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert Path(seaweedfs.find_weed()).name == "weed"


def test_a_state_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        PlatformError, match=r"cannot create the state folder .*file/state: Not a directory; set FEDSTREAM_HOME"
    ):
        Platform(tmp_path / "file" / "state", environ={}).start()


def test_folders_follow_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    for name in ("FEDSTREAM_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert paths.default_state_dir() == Path("/home/ada/.local/state/fedstream")
    assert paths.cache_dir() == Path("/home/ada/.cache/fedstream")
    monkeypatch.setenv("XDG_STATE_HOME", "relative/is/ignored")
    assert paths.default_state_dir() == Path("/home/ada/.local/state/fedstream")
    monkeypatch.setenv("XDG_STATE_HOME", "/srv/state")
    assert paths.default_state_dir() == Path("/srv/state/fedstream")
    monkeypatch.setenv("FEDSTREAM_HOME", "~/fed")
    assert paths.default_state_dir() == Path("/home/ada/fed")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("KAFKA_BOOTSTRAP_SERVERS", "S3_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FEDSTREAM_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_status_says_down_exits_with_1_and_makes_no_folder(home: Path) -> None:
    result = CliRunner().invoke(services_app, ["status", "--json"])
    assert result.exit_code == 1
    services = json.loads(result.stdout)["services"]
    assert [(service["name"], service["running"]) for service in services] == [("kafka", False), ("store", False)]
    assert not home.exists()


def test_env_fails_with_a_hint_and_prints_nothing_to_evaluate(home: Path) -> None:
    result = CliRunner().invoke(services_app, ["env"])
    assert isinstance(result.exception, PlatformError)
    assert result.exception.exit_code == 1
    assert result.stdout == ""
    assert not home.exists()


def test_env_quotes_for_the_shell(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (KAFKA | STORE | {"KAFKA_PASSWORD": "it's; rm"}).items():
        monkeypatch.setenv(name, value)
    result = CliRunner().invoke(services_app, ["env"])
    assert result.exit_code == 0
    assert "export KAFKA_PASSWORD='it'\"'\"'s; rm'\n" in result.stdout


def test_down_with_nothing_running_is_no_error(home: Path) -> None:
    result = CliRunner().invoke(services_app, ["down", "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {"stopped": []}
    assert not home.exists()


def test_the_secured_kafka_is_another_one_and_has_no_owner_s_name_that_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Platform(tmp_path, environ={}, secure=True).kafka.folder != Platform(tmp_path, environ={}).kafka.folder
    for name in ("Hospital A", "admin", "fedstream", "../x"):
        with pytest.raises(UsageError, match=f"data owner '{name}' cannot be the name of a user"):
            Platform(tmp_path, environ={}, secure=True, owners=[name])
    with pytest.raises(PlatformError, match="the secured Kafka is not running; start it with"):
        Platform(tmp_path, environ={}).env_of("hospital-a")
    monkeypatch.setattr(KafkaServer, "running", True)
    with pytest.raises(
        PlatformError, match=r"is running without TLS and logins; stop it with `fedstream services down`"
    ):
        Platform(tmp_path, environ={}, secure=True).start()


def test_the_variables_of_the_secured_kafka_are_those_of_its_settings() -> None:
    settings = KafkaSettings("127.0.0.1:1", "SASL_SSL", "SCRAM-SHA-512", "fedstream", "word", ca_file="/ca.crt")
    assert KafkaSettings.from_env(_variables(settings)) == settings
