"""Keys of the noise, and the secret that they come from."""

import hashlib
import os
import stat
from pathlib import Path

import pytest

from fedstream.errors import PlatformError, SettingsError
from fedstream.privacy.keys import commitment, noise_key
from fedstream.privacy.secret import FILE_VARIABLE, VARIABLE, noise_secret, required_secret, secret_file

SECRET = bytes(range(32))
TEXT = SECRET.hex()


def test_the_key_depends_on_everything() -> None:
    """Noise that is used twice can be subtracted."""
    keys = {
        noise_key(secret, run, round, client, *inputs)
        for secret in (SECRET, SECRET[::-1])
        for run in ("a", "b")
        for round in (1, 2, 12)
        for client in ("", "a", "2")
        for inputs in (("x",), ("y",), ("x", "y"), ("xy",))
    }
    assert len(keys) == 2 * 2 * 3 * 3 * 4
    assert {len(key) for key in keys} == {32}


def test_the_commitment_is_the_digest_of_the_key() -> None:
    key = noise_key(SECRET, "a", 1, "", "x")
    assert commitment(key) == hashlib.sha256(key).hexdigest()


def test_the_secret_is_in_the_environment_or_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(f"{TEXT}\n")
    assert noise_secret({}) is None
    assert noise_secret({VARIABLE: TEXT}) == SECRET
    assert noise_secret({FILE_VARIABLE: str(file)}) == SECRET
    assert noise_secret({VARIABLE: TEXT[::-1], FILE_VARIABLE: str(file)}) == bytes.fromhex(TEXT[::-1])


@pytest.mark.parametrize("wrong", ["correct horse battery staple", TEXT[1:], f"{TEXT}0", "g" * 64, " " * 64])
def test_what_a_person_made_up_is_refused_and_never_shown(wrong: str, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(wrong)
    for env in ({VARIABLE: wrong}, {FILE_VARIABLE: str(file)}):
        with pytest.raises(SettingsError, match="64 hexadecimal digits") as refused:
            noise_secret(env)
        assert wrong.strip() not in str(refused.value) or not wrong.strip()


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"FEDSTREAM_NOISE_SECRET_FILE is '.*none', which cannot be read"):
        noise_secret({FILE_VARIABLE: str(tmp_path / "none")})


def test_a_run_without_a_secret_is_told_what_to_do() -> None:
    assert required_secret(SECRET, "the noise of run 'a'") == SECRET
    with pytest.raises(SettingsError, match=r"^the noise of run 'a' needs a secret: set FEDSTREAM_NOISE_SECRET, or"):
        required_secret(None, "the noise of run 'a'")


def test_the_file_of_a_folder_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    file = secret_file(folder)
    first = noise_secret({FILE_VARIABLE: str(file)})
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert secret_file(folder) == file
    assert noise_secret({FILE_VARIABLE: str(file)}) == first
    assert os.listdir(folder) == [file.name]
    assert noise_secret({FILE_VARIABLE: str(secret_file(tmp_path / "other"))}) != first


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    with pytest.raises(PlatformError, match="cannot write the secret of the noise"):
        secret_file(tmp_path / "state")
