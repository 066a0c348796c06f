"""Simulations with the numpy learner: attackers, resuming, and what is on record."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest

import fedstream
from fedstream.audit import verify_run
from fedstream.catalog.models import add_model
from fedstream.errors import SpecError, UsageError
from fedstream.local import inprocess
from fedstream.model.numpy_learner import SoftmaxModel
from fedstream.privacy.secret import FILE_VARIABLE, VARIABLE, noise_secret
from fedstream.simulation.federation import Setting
from fedstream.simulation.simulate import added, simulate
from fedstream.simulation.source import source_of
from fedstream.store.disk import DiskStore
from fedstream.store.memory import MemoryStore
from fedstream.store.state import RunState
from fedstream.store.store import Store

MODEL = "builtin:numpy-softmax"
SPEC = {"run": "r", "model": MODEL, "rounds": 3, "batch_size": 10}


def bright(seed: int, records: int) -> tuple[np.ndarray, np.ndarray]:
    """Return pictures with one bright pixel, whose place is the class."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 10, records).astype(np.uint8)
    pictures = rng.integers(0, 7, (records, 64)).astype(np.uint8)
    pictures[np.arange(records), labels * 6] = 16
    return pictures.reshape(records, 8, 8), labels


SOURCE = source_of(*bright(0, 600), bright(1, 200))


def quiet(store: Store, spec: object) -> contextlib.nullcontext[None]:
    return contextlib.nullcontext()


SIX = Setting(6)


def run(setting: Setting = SIX, store: Store | None = None, **values: object) -> RunState:
    store = store or MemoryStore()
    simulate(SOURCE, setting, SPEC | values, store, None, quiet)
    return RunState(store, "r")


def accuracy(state: RunState) -> float:
    metrics = state.ledger.commits()[-1].metrics
    assert metrics is not None
    return metrics.values["accuracy"]


def heads(state: RunState) -> list[str]:
    return [state.ledger.digest(commit.round) for commit in state.ledger.commits()]


def test_a_simulation_learns_and_is_verified():
    state = run()
    assert accuracy(state) > 0.8
    assert [client.client for client in state.record.clients] == [f"client-{number}" for number in range(1, 7)]
    assert sum(client.records for client in state.record.clients) == 600
    assert all(client.held_out_rate == 0 for client in state.record.clients), "the test records measure"
    assert verify_run(state.store, "r").ok


def test_without_test_records_the_clients_hold_some_out():
    source = source_of(SOURCE.x, SOURCE.y)
    store = MemoryStore()
    simulate(source, Setting(4), SPEC, store, None, quiet)
    state = RunState(store, "r")
    assert {client.held_out_rate for client in state.record.clients} == {0.1}
    assert state.ledger.commits()[-1].kind == "closing"


def test_two_simulations_of_the_same_values_have_the_same_ledger():
    setting = Setting(5, "dirichlet:0.3", "colluding", 2)
    assert heads(run(setting)) == heads(run(setting))


def test_attackers_spoil_the_mean_but_not_the_trimmed_mean():
    honest, setting = accuracy(run(rounds=6)), Setting(6, attack="signflip:5", attackers=2)
    spoiled = accuracy(run(setting, rounds=6))
    robust = accuracy(run(setting, rounds=6, strategy="FedTrimmedAvg", strategy_config={"beta": 0.34}))
    assert spoiled < honest - 0.2
    assert robust > honest - 0.1


@pytest.mark.parametrize("attack", ["labelflip", "signflip", "scaled", "freerider", "colluding"])
def test_an_attack_changes_the_update_and_nothing_else(attack):
    setting = Setting(6, attack=attack, attackers=1)
    state, commit = run(setting, rounds=1), None
    commit = state.ledger.commit(1)
    assert [entry.accepted for entry in commit.clients] == [True] * 6
    assert [entry.client for entry in commit.clients][-1] == f"client-6-{attack}"
    assert verify_run(state.store, "r").ok


def test_nan_is_rejected_with_a_verdict():
    entry = run(Setting(6, attack="nan", attackers=1), rounds=1).ledger.commit(1).clients[-1]
    assert (entry.client, entry.accepted) == ("client-6-nan", False)
    assert "not finite" in entry.reason


class Killed(BaseException):
    """What no step catches, like the end of the process."""


def test_a_killed_simulation_goes_on_with_the_same_digests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    setting = Setting(4, "shards:3", "colluding", 1)
    undisturbed, store, calls = heads(run(setting)), DiskStore(tmp_path / "store"), []
    put = DiskStore.put_if_match

    def dying(self: DiskStore, key: str, data: bytes, etag: str | None) -> bool:
        calls.append(key)
        if len(calls) in (9, 21, 30, 48):
            raise Killed
        return put(self, key, data, etag)

    monkeypatch.setattr(DiskStore, "put_if_match", dying)
    died = 0
    while True:
        try:
            state = run(setting, store)
            break
        except Killed:
            died += 1
    assert died == 4
    assert heads(state) == undisturbed
    assert verify_run(store, "r").ok
    assert not list((tmp_path / "store" / ".fedstream").glob("*.part"))


def test_a_finished_run_can_get_more_rounds_but_no_other_values(tmp_path: Path):
    store = DiskStore(tmp_path)
    run(store=store)
    assert len(heads(run(store=store, rounds=4))) == 5
    with pytest.raises(SpecError, match="epochs was 1 and is now 2"):
        run(store=store, rounds=4, epochs=2)
    said = "run 'r' is on record with another data set, partition or attack: client-1 had client-1:0:0:100 and now has"
    with pytest.raises(UsageError, match=said):
        run(Setting(5), store, rounds=4)
    with pytest.raises(UsageError, match="client-6 had client-6:0:0:100 and now has no records; use the values on"):
        run(Setting(6, attack="nan", attackers=1), store, rounds=4)


@pytest.mark.parametrize("field", ["clients", "sites"])
def test_what_a_simulation_makes_itself_cannot_be_set(field):
    with pytest.raises(UsageError, match=f"{field} cannot be set in a simulation, whose clients and records are made"):
        run(**{field: {}})


def test_a_log_that_cannot_be_written_is_named(tmp_path: Path):
    log = tmp_path / "file"
    log.touch()
    with pytest.raises(UsageError, match=r"cannot write the log .*: .*; name another file with --log"):
        simulate(SOURCE, Setting(2), SPEC, MemoryStore(), log / "log", quiet)
    simulate(SOURCE, Setting(2), SPEC, MemoryStore(), log, quiet)
    assert "round 3 is committed" in log.read_text()


def test_a_model_in_the_store_or_built_in_is_added_once():
    store = MemoryStore()
    assert added(store, MODEL) == MODEL
    assert not store.list("")
    with pytest.raises(UsageError, match=r"'nothing' is neither a file nor `package.module:function`"):
        added(store, "nothing")


def test_python_runs_a_simulation(capsys: pytest.CaptureFixture[str]):
    result = fedstream.simulate(
        SOURCE.x, SOURCE.y, test=SOURCE.test, model=MODEL, clients=3, rounds=2, batch_size=10, attack="nan", attackers=1
    )
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("round 1 of 2: 2/3 clients, 400 records; accuracy 0.")
    assert any("client-3-nan" in line for line in said[2:])
    assert (result.run, result.finished, result.rounds, result.version) == ("simulation", True, 2, 0)
    assert result.absent[0].client == "client-3-nan"
    again = fedstream.simulate(
        SOURCE.x, SOURCE.y, test=SOURCE.test, model=MODEL, name="again", store=result.store, progress=False, rounds=1
    )
    assert fedstream.history("again", again.store).rounds["clients"].tolist() == [0, 10]
    assert not capsys.readouterr().out


def test_python_deals_a_data_frame_by_a_column():
    pandas = pytest.importorskip("pandas")
    pictures = SOURCE.x.reshape(600, 64)
    frame = pandas.DataFrame(pictures, columns=[f"p{n}" for n in range(64)]).assign(
        label=SOURCE.y, ward=np.arange(600) % 3
    )
    store = MemoryStore()
    add_model(store, "flat", SoftmaxModel(input_shape=[64], classes=10, scale=1 / 16).to_bytes())
    test = (frame.drop(columns="ward"), "label")
    result = fedstream.simulate(
        frame, "label", test=test, model="flat", store=store, partition="column:ward", rounds=2, progress=False
    )
    record = RunState(store, "simulation").record
    assert [client.client for client in record.clients] == ["0", "1", "2"]
    assert record.features == [f"p{n}" for n in range(64)]
    assert result.metrics["accuracy"] > 0.3


def test_the_steps_are_those_of_a_run(monkeypatch: pytest.MonkeyPatch):
    rounds = []
    real = inprocess.order.run_round
    monkeypatch.setattr(inprocess.order, "run_round", lambda steps: (rounds.append(type(steps)), real(steps)))
    run(rounds=2)
    assert rounds == [inprocess.InProcess] * 2


def test_a_private_simulation_has_a_secret_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDSTREAM_HOME", str(tmp_path))
    for variable in (VARIABLE, FILE_VARIABLE):
        monkeypatch.delenv(variable, raising=False)
    privacy = {"where": "central", "noise_multiplier": 1.0, "delta": 0.001, "max_epsilon": 99.0}
    private = {"privacy": privacy, "clipping": {"norm": 1.0}, "outlier_bound": 0.0}
    store = MemoryStore()
    run(store=store, **private | {"rounds": 1})
    state = run(store=store, **private)
    secret = noise_secret({FILE_VARIABLE: str(tmp_path / "noise-secret")})
    audit = verify_run(store, "r", noise_secret=secret)
    assert audit.ok, audit.problems
    assert audit.unproven == []
    assert len([commit for commit in state.ledger.commits() if "epsilon" in commit.figures]) == 3
    assert heads(run(**private)) == heads(run(**private))
