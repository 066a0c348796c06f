"""Names for versions, and the removal of what nothing needs."""

from __future__ import annotations

import json

import pytest
from support.versions import version_manifest

from fedstream.catalog.aliases import promote
from fedstream.catalog.versions import find_latest, find_version, list_aliases, list_versions
from fedstream.errors import CorruptObject, ModelError
from fedstream.record.canonical import sha256_hex
from fedstream.record.layout import ModelKeys, RunKeys
from fedstream.record.versions import LatestVersion
from fedstream.store.objects import ObjectStore

KEYS = ModelKeys("mine")


def publish(store, number):
    store.put_new(KEYS.version(number, "model.keras"), b"model %d" % number)
    files = {"model.keras": sha256_hex(b"model %d" % number)}
    digest = store.put_new_json(
        KEYS.version(number, "manifest.json"),
        version_manifest(version=number, round=number, files=files).model_dump(mode="json"),
    )
    etag = store.get_with_etag(KEYS.latest)[1] if store.exists(KEYS.latest) else None
    assert store.put_if_match(
        KEYS.latest, LatestVersion(version=number, manifest=digest).model_dump_json().encode(), etag
    )


@pytest.fixture
def three(platform_env):
    store = ObjectStore.from_env()
    for number in (1, 2, 3):
        publish(store, number)
    return store


def test_an_alias_names_a_version_and_moves(three):
    assert promote(three, find_version(three, "mine", 3), "champion") is None
    assert find_version(three, "mine", "champion").number == 3
    assert promote(three, find_version(three, "mine", 2), "champion") == 3
    assert find_version(three, "mine", "champion").number == 2
    assert list_aliases(three, "mine") == {"champion": 2}


def test_an_alias_that_is_not_there_is_named_with_those_that_are(three):
    promote(three, find_version(three, "mine", 2), "champion")
    with pytest.raises(
        ModelError,
        match=r"has no version 'best'; champion is version 2; add one with `fedstream model promote mine@N best`",
    ):
        find_version(three, "mine", "best")


def test_an_alias_is_of_one_manifest(three):
    promote(three, find_version(three, "mine", 2), "champion")
    key = KEYS.version(2, "manifest.json")
    data, etag = three.get_with_etag(key)
    three.put_if_match(key, data.replace(b'"round":2', b'"round":9'), etag)
    with pytest.raises(CorruptObject, match=f"{key} has digest"):
        find_version(three, "mine", "champion")


@pytest.mark.parametrize(
    "forged", [b"{", b'{"version": 99, "manifest": "no digest"}', b'{"version":99,"manifest":"%s"}' % (b"0" * 64)]
)
def test_a_damaged_alias_is_an_error_and_can_be_moved(three, forged):
    three.put_new(KEYS.alias("champion"), forged)
    with pytest.raises(CorruptObject, match=r"aliases/champion\.json (does not identify|points to)"):
        find_version(three, "mine", "champion")
    promote(three, find_version(three, "mine", 1), "champion")
    assert find_version(three, "mine", "champion").number == 1


def test_the_commands_promote_pull_show_and_demote(three, cli):
    assert cli("model", "promote", "mine@3", "champion").out == "mine@champion is now version 3\n"
    assert (
        cli("model", "promote", "mine@2", "champion").out == "mine@champion is now version 2; it was version 3 before\n"
    )
    assert json.loads(cli("model", "promote", "mine@champion", "old", "--json").out) == {
        "model": "mine",
        "alias": "old",
        "version": 2,
        "before": None,
    }
    assert "wrote mine-2.keras: version 2 of mine" in cli("model", "pull", "mine@champion").out
    assert json.loads(cli("model", "list", "--json").out)["models"][-1:] != []
    assert cli("model", "demote", "mine@old").out == "removed mine@old; version 2 is kept\n"
    assert list_aliases(three, "mine") == {"champion": 2}
    said = cli("model", "promote", "mine@3", "4")
    assert (said.code, said.err) == (
        2,
        "error: '4' is not a valid alias; use at most 63 letters, digits, '.', '_' and '-', and begin with a letter\n",
    )


def test_a_version_with_an_alias_is_not_removed(three, cli):
    promote(three, find_version(three, "mine", 2), "champion")
    said = cli("model", "remove", "mine@2", "--yes")
    assert (said.code, list_versions(three, "mine")) == (2, [1, 2, 3])
    assert (
        "cannot remove version 2 of model mine, round 2 of run r: alias champion needs it; "
        "pass --force to remove it anyway" in said.err
    )
    assert (
        cli("model", "remove", "mine@2", "--yes", "--force").out
        == "removed version 2 of model mine, round 2 of run r: 3 objects\n"
    )
    assert (list_versions(three, "mine"), list_aliases(three, "mine")) == ([1, 3], {})


def test_nothing_is_removed_where_nobody_can_be_asked(three, cli):
    said = cli("model", "remove", "mine@1")
    assert (said.code, list_versions(three, "mine")) == (2, [1, 2, 3])
    assert "this permanently removes version 1 of model mine" in said.err


def test_the_newest_version_leaves_latest_to_the_one_before_and_its_number_to_none(three, cli):
    assert cli("model", "remove", "mine@3", "--yes").code == 0
    assert find_latest(three, "mine").number == 2
    assert [info.key for info in three.list(KEYS.version(3, ""))] == [KEYS.version(3, "removed.json")]
    for number in (1, 2):
        assert cli("model", "remove", f"mine@{number}", "--yes").code == 0
    with pytest.raises(ModelError, match="has no published version yet"):
        find_latest(three, "mine")


def test_a_model_that_a_run_starts_from_is_not_removed(published, cli):
    said = cli("model", "remove", "builtin:digits-mlp", "--yes")
    assert said.code == 2
    assert said.err.startswith(
        "error: cannot remove model builtin:digits-mlp: 1 file added; versions 1: run r needs it; "
        "pass --force to remove it anyway"
    )
    assert cli("verify", "r").code == 0
    data, etag = published.store.get_with_etag(RunKeys("r").spec)
    published.store.put_if_match(RunKeys("r").spec, data[1:], etag)
    assert (
        "possibly run r, whose spec.json is damaged, needs it"
        in cli("model", "remove", "builtin:digits-mlp", "--yes").err
    )
    assert cli("model", "remove", "builtin:digits-mlp", "--yes", "--force").code == 0
    assert published.store.list("models/") == []


def test_a_model_that_is_not_there_cannot_be_removed(three, cli):
    assert "there is no model 'other' in this bucket" in cli("model", "remove", "other", "--yes").err
    assert "has no version 9; published versions: 1, 2, 3" in cli("model", "remove", "mine@9", "--yes").err
    assert cli("model", "remove", "mine", "--yes").out.startswith(
        "removed model mine: 0 files added; versions 1, 2, 3: 7 objects"
    )
