"""verify and rollback as commands: the head that can be kept, markup that is shown as it is,
and rounds one cannot go back to.
"""

import json

import pytest
from support.recorded import RUN, RecordedStore

from fedstream.record.canonical import canonical_json
from fedstream.settings import StoreSettings
from fedstream.store.objects import ObjectStore


@pytest.fixture
def recorded(platform_env):
    store = ObjectStore(StoreSettings.from_env(platform_env))
    RecordedStore("federated").copy_to(store)
    return store


def test_the_head_is_printed_and_expected(recorded, cli):
    head = json.loads(cli("verify", RUN, "--json").out)["head"]
    said = cli("verify", RUN, "--expect", head)
    assert said.code == 0
    assert head in said.out
    missed = cli("verify", RUN, "--expect", "0" * 64)
    assert missed.code == 1
    assert f"no commit of the run has the expected digest {'0' * 64}" in missed.out
    wrong = cli("verify", RUN, "--expect", "abc")
    assert wrong.code == 2
    assert "--expect 'abc' is not a digest; pass the 64 hexadecimal digits" in wrong.err


def test_markup_in_a_document_is_printed_as_it_is(platform_env, cli):
    forged = RecordedStore("federated")
    forged.put_new(
        forged.key(2, "refusals/attempt/c.json"),
        canonical_json({"client": "[/x][bold]", "step": "train", "reason": "no"}),
    )
    forged.copy_to(ObjectStore(StoreSettings.from_env(platform_env)))
    said = cli("verify", RUN)
    assert said.code == 1
    assert "[/x][bold]" in said.out


def test_a_rollback(recorded, cli):
    said = cli("rollback", RUN, "--to", "0")
    assert said.code == 0, said.err
    assert "round 6 goes back to the model of round 0; run it again to continue from there" in said.out
    assert cli("verify", RUN).code == 0
    refused = cli("rollback", RUN, "--to", "4")
    assert refused.code == 2
    assert "run 'recorded' cannot go back to round 4; it can go back to 0" in refused.err
    assert cli("rollback", "nobody", "--to", "0").code == 1
