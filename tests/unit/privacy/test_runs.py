"""Whole private runs, in memory: what they record, when they stop, how they resume, and how they are verified."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from fedstream.audit import verify_run
from fedstream.cli.app import app
from fedstream.errors import RunError, SettingsError, SpecError
from fedstream.local.inprocess import run_inprocess
from fedstream.privacy.accounting import epsilon
from fedstream.record.privacy import Privacy
from fedstream.record.weights import from_bytes
from fedstream.report.html import render_report
from fedstream.report.view import build_view
from fedstream.steps.context import Context
from fedstream.steps.plan import checked_spec
from fedstream.steps.rollback import rollback
from fedstream.store.disk import DiskStore
from fedstream.store.objects import ObjectStore
from fedstream.stream.send import send_dataset

SECRET = bytes(range(32))
CENTRAL = {"where": "central", "noise_multiplier": 1.0, "delta": 1e-5, "max_epsilon": 100.0}
LOCAL = CENTRAL | {"where": "local"}
SPEC: dict[str, Any] = {
    "run": "first",
    "model": "builtin:numpy-softmax",
    "rounds": 3,
    "batch_size": 10,
    "outlier_bound": 0,
    "clipping": {"norm": 0.5},
    "privacy": CENTRAL,
}
STD = 1.0 * 0.5 / 2
"""Standard deviation of the central noise on a mean over two clients."""


@pytest.fixture
def context() -> Context:
    context = replace(Context.in_memory(), noise_secret=lambda: SECRET)
    for number, client in enumerate(("north", "south")):
        rng = np.random.default_rng(number)
        pictures, labels = rng.integers(0, 16, (60, 8, 8)), rng.integers(0, 10, 60)
        send_dataset(context.brokers.at(""), client, client, pictures, labels, validation_rate=0.2)
    return context


def run(context: Context, **values: Any) -> int:
    return run_inprocess(SPEC | values, context=context)


def weights(context: Context, round: int) -> np.ndarray:
    keys = context.run("first").keys.at(round)
    arrays = from_bytes(context.store.get(keys.weights), keys.weights)
    return np.concatenate([arrays[name].reshape(-1).astype(np.float64) for name in sorted(arrays)])


def digests(context: Context) -> list[str]:
    return [commit.weights_digest for commit in context.run("first").ledger.commits()]


def test_every_commit_says_what_is_spent(context: Context) -> None:
    assert run(context) == 1
    trained = [commit for commit in context.run("first").ledger.commits() if commit.kind == "training"]
    privacy = Privacy.model_validate(CENTRAL)
    assert [commit.figures["epsilon"] for commit in trained] == [epsilon(privacy, round) for round in (1, 2, 3)]
    assert {commit.figures["delta"] for commit in trained} == {1e-5}
    assert {commit.figures["noise_std"] for commit in trained} == {STD}
    assert len({commit.figures["noise_commitment"] for commit in trained}) == 3


def test_no_commit_says_what_a_client_contributed(context: Context) -> None:
    """Norms and cosines of updates are figures without noise."""
    run(context, rounds=1)
    assert [entry.contribution for entry in context.run("first").ledger.commit(1).clients] == [None, None]


def test_the_released_models_have_the_noise_that_they_should(context: Context) -> None:
    """Two runs on the same records differ by their noise alone: twice its variance, as a sum of 650 squares."""
    run(context, rounds=1)
    other = replace(Context.in_memory(), brokers=context.brokers, noise_secret=lambda: SECRET[::-1])
    run(other, rounds=1)
    noise = (weights(context, 1) - weights(other, 1)) / (STD * np.sqrt(2))
    assert abs(np.square(noise).mean() - 1) < 5 * np.sqrt(2 / noise.size) < 0.3


def test_examples_do_not_weigh(context: Context) -> None:
    """A client with ten times the records has the same part: with hardly any noise, the mean is that of the clipped."""
    rng = np.random.default_rng(9)
    many = rng.integers(0, 16, (600, 8, 8)), rng.integers(0, 10, 600)
    send_dataset(context.brokers.at(""), "south", "south", *many, validation_rate=0.2)
    run(context, rounds=1, privacy=CENTRAL | {"noise_multiplier": 0.01, "max_epsilon": 1e5})
    state = context.run("first")
    base, clipped = weights(context, 0), []
    for entry in state.ledger.commit(1).clients:
        arrays = from_bytes(context.store.get(state.keys.at(1).update(entry.client, entry.update_digest)), "")
        change = np.concatenate([arrays[name].reshape(-1) for name in sorted(arrays)]) - base
        clipped.append(change * min(1, 0.5 / np.linalg.norm(change)))
    noise = weights(context, 1) - base - np.mean(clipped, axis=0)
    assert np.abs(noise).max() < 5 * 0.01 * STD


def test_the_run_stops_at_its_budget_and_publishes_what_it_has(context: Context) -> None:
    budget = epsilon(Privacy.model_validate(CENTRAL), 2) + 0.01
    assert run(context, rounds=10, privacy=CENTRAL | {"max_epsilon": budget}) == 1
    commits = context.run("first").ledger.commits()
    assert [commit.kind for commit in commits] == ["initial", "training", "training", "closing"]
    assert commits[2].decision.action == "stop"
    assert commits[2].decision.reason.startswith("privacy budget: epsilon")
    assert commits[3].decision.action == "stop"
    assert context.run("first").next_round(10) is None
    audit = verify_run(context.store, "first", noise_secret=SECRET)
    assert audit.ok, audit.problems


def test_a_rollback_gives_nothing_back(context: Context) -> None:
    budget = epsilon(Privacy.model_validate(CENTRAL), 2) + 0.01
    run(context, rounds=10, privacy=CENTRAL | {"max_epsilon": budget})
    rollback(context.run("first"), 1)
    run(context, rounds=10, privacy=CENTRAL | {"max_epsilon": budget})
    kinds = [commit.kind for commit in context.run("first").ledger.commits()]
    assert kinds == ["initial", "training", "training", "closing", "rollback"]
    assert build_view(context.store, "first", 10).decision.startswith("privacy budget: epsilon")


def test_the_secret_proves_every_bit(context: Context) -> None:
    run(context)
    audit = verify_run(context.store, "first", noise_secret=SECRET)
    assert audit.ok, audit.problems
    assert audit.unproven == []


def test_without_the_secret_verify_says_what_is_left_open(context: Context) -> None:
    run(context)
    audit = verify_run(context.store, "first")
    assert audit.ok, audit.problems
    ((rounds, what),) = [(part.rounds, part.what) for part in audit.unproven]
    assert rounds == [1, 2, 3]
    assert what == "the noise was not made again without its secret; it is as large as it should be"


def test_the_command_says_what_is_left_open(context: Context, tmp_path: Path, monkeypatch: Any) -> None:
    run(context)
    monkeypatch.setattr(ObjectStore, "from_env", lambda: context.store)
    monkeypatch.setenv("FEDSTREAM_HOME", str(tmp_path))
    monkeypatch.setenv("FEDSTREAM_NOISE_SECRET", "")
    without = CliRunner().invoke(app, ["verify", "first"], env={"COLUMNS": "300"})
    assert without.exit_code == 0
    assert "reproduced bit for bit, except:" in without.stdout
    assert "rounds 1–3: the noise was not made again without its secret" in without.stdout
    monkeypatch.setenv("FEDSTREAM_NOISE_SECRET", SECRET.hex())
    assert "except" not in CliRunner().invoke(app, ["verify", "first"], env={"COLUMNS": "300"}).stdout
    monkeypatch.setenv("FEDSTREAM_NOISE_SECRET", SECRET[::-1].hex())
    assert CliRunner().invoke(app, ["verify", "first"]).exit_code == 1


def test_a_server_optimizer_works_on_the_noised_mean(context: Context) -> None:
    run(context, strategy="FedAdam")
    audit = verify_run(context.store, "first", noise_secret=SECRET)
    assert audit.ok, audit.problems
    ((rounds, what),) = [(part.rounds, part.what) for part in verify_run(context.store, "first").unproven]
    assert rounds == [1, 2, 3]
    assert what.startswith("the global model was not computed again without the secret of its noise")


def test_another_secret_proves_nothing(context: Context) -> None:
    run(context, rounds=1)
    audit = verify_run(context.store, "first", noise_secret=SECRET[::-1])
    assert any("noise_commitment" in problem.what for problem in audit.problems)


@pytest.mark.parametrize("far", [1e-7, 20 * STD])
def test_a_model_that_was_changed_with_its_digests(context: Context, far: float, monkeypatch: Any) -> None:
    """Without the secret, a change within the noise stays hidden: the secret finds it."""
    from fedstream.steps import aggregation

    honest = aggregation.combine_updates

    def forging(*args: Any) -> Any:
        outcome = honest(*args)
        name = sorted(outcome.weights)[0]
        outcome.weights[name].reshape(-1)[0] += np.float32(far)
        return outcome

    with monkeypatch.context() as patch:
        patch.setattr(aggregation, "combine_updates", forging)
        run(context, rounds=1)
    with_secret = verify_run(context.store, "first", noise_secret=SECRET)
    assert [problem.key for problem in with_secret.problems] == ["runs/first/rounds/0001/global.safetensors"]
    without = verify_run(context.store, "first")
    assert without.ok == (far < STD)
    if not without.ok:
        assert "standard deviations of the noise from the mean" in without.problems[0].what


def test_a_flipped_byte_is_found_either_way(context: Context, tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "store")
    run(replace(context, store=store))
    key = "runs/first/rounds/0002/global.safetensors"
    (file,) = [path for path in (tmp_path / "store").rglob("*") if str(path).endswith(key)]
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.chmod(0o600)
    file.write_bytes(data)
    for secret in (SECRET, None):
        assert key in [problem.key for problem in verify_run(store, "first", noise_secret=secret).problems]


def test_killed_and_started_again_it_has_the_same_digests(context: Context, monkeypatch: Any) -> None:
    undisturbed = replace(Context.in_memory(), brokers=context.brokers, noise_secret=lambda: SECRET)
    run(undisturbed)
    from fedstream import steps

    class Killed(BaseException):
        pass

    def killed(*args: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(steps.evaluate, "_function", killed)
        with pytest.raises(Killed):
            run(context)
    again = replace(Context.in_memory(), store=context.store, brokers=context.brokers, noise_secret=lambda: SECRET)
    run(again)
    assert digests(again) == digests(undisturbed)


def test_another_secret_in_the_middle_is_refused(context: Context) -> None:
    run(context, rounds=1)
    other = replace(
        Context.in_memory(), store=context.store, brokers=context.brokers, noise_secret=lambda: SECRET[::-1]
    )
    with pytest.raises(RunError, match=r"the noise of round 1 of run 'first' was made with another secret"):
        run(other, rounds=2)


def test_another_secret_after_a_kill_is_refused(context: Context, monkeypatch: Any) -> None:
    from fedstream import steps

    with monkeypatch.context() as patch:
        patch.setattr(steps.evaluate, "_function", lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(context, rounds=1)
    other = replace(
        Context.in_memory(), store=context.store, brokers=context.brokers, noise_secret=lambda: SECRET[::-1]
    )
    with pytest.raises(RunError, match=r"the noise of round 1 of run 'first' was made with another secret"):
        run(other, rounds=1)


def test_a_run_without_a_secret_says_what_it_needs_and_can_go_on(context: Context) -> None:
    without = replace(context, noise_secret=lambda: None)
    with pytest.raises(SettingsError, match=r"the noise of run 'first' needs a secret: set FEDSTREAM_NOISE_SECRET"):
        run(without)
    assert run(context) == 1


def test_the_noise_is_not_that_of_another_run_of_the_same_name(context: Context) -> None:
    """Otherwise the difference of both models would be that of the clients, without any noise."""
    other = replace(Context.in_memory(), brokers=context.brokers, noise_secret=lambda: SECRET)
    run(context, rounds=1)
    run(other, rounds=1, clipping={"norm": 0.25})
    assert np.linalg.norm(weights(context, 1) - 2 * weights(other, 1) + weights(context, 0)) > STD


def test_the_clients_of_a_run_with_local_noise_send_noise(context: Context) -> None:
    assert run(context, privacy=LOCAL, outlier_bound=10) == 1
    state = context.run("first")
    for entry in state.ledger.commit(1).clients:
        arrays = from_bytes(context.store.get(state.keys.at(1).update(entry.client, entry.update_digest)), "")
        change = np.concatenate([arrays[name].reshape(-1) for name in sorted(arrays)]) - weights(context, 0)
        assert abs(np.square(change / 0.5).mean() - 1) < 5 * np.sqrt(2 / change.size) + 1 / change.size
    figures = state.ledger.commit(3).figures
    assert figures["epsilon"] == epsilon(Privacy.model_validate(LOCAL), 3)
    assert figures["noise_std_of_a_client"] == 0.5
    audit = verify_run(context.store, "first")
    assert audit.ok, audit.problems
    assert audit.unproven == []


def test_a_client_without_a_secret_refuses(context: Context) -> None:
    with pytest.raises(RunError, match=r"the local noise of run 'first' needs a secret"):
        run(replace(context, noise_secret=lambda: None), privacy=LOCAL)


def test_the_secret_is_nowhere(context: Context, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Neither in the store (whose report and card are among the objects) nor in the log, in any spelling."""
    caplog.set_level(logging.DEBUG)
    store = DiskStore(tmp_path / "store")
    for name, privacy in (("first", CENTRAL), ("second", LOCAL)):
        run(replace(context, store=store), run=name, privacy=privacy)
    written = [path.read_bytes() for path in (tmp_path / "store").rglob("*") if path.is_file()]
    assert len(written) > 40
    for said in (*written, caplog.text.encode()):
        assert SECRET not in said
        assert SECRET.hex().encode() not in said.lower()


def test_the_report_and_the_card_say_what_is_spent(context: Context) -> None:
    run(context, rounds=2)
    spent = epsilon(Privacy.model_validate(CENTRAL), 2)
    page = render_report(build_view(context.store, "first"))
    card = context.store.get("models/builtin-numpy-softmax/versions/1/model_card.md").decode()
    for text in (page, card):
        assert f"{spent:.4g}" in text
    assert "does not provide differential privacy" not in card


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"clipping": {}}, 'privacy: noise needs a bound on what one client can change; set clipping, such as {"norm"'),
        (
            {"clipping": {"norm": 1, "quantile": 0.5}},
            "privacy: quantile and zero_above of clipping depend on",
        ),
        (
            {"clipping": {"norm": 1, "zero_above": 3}},
            "privacy: quantile and zero_above of clipping depend on",
        ),
        ({"outlier_bound": 10}, "privacy: outlier_bound is 10, but which updates are outliers depends on all of them"),
        ({"leave_one_out": True, "evaluation_topic": "e"}, "privacy: leave_one_out measures models that get no noise"),
        ({"strategy": "SCAFFOLD"}, "privacy: the clients of strategy SCAFFOLD also write arrays that get no noise"),
        ({"strategy": "FedMedian"}, "privacy: strategy FedMedian uses more of the updates than their mean"),
        ({"privacy": LOCAL, "exchange": {"personal": ["*"]}}, "privacy: personal variables of exchange are stored"),
        ({"strategy": "FedTrimmedAvg"}, "privacy: strategy FedTrimmedAvg uses more of the updates than their mean"),
        ({"privacy": CENTRAL | {"max_epsilon": 4.7}}, "privacy: the first round would spend epsilon 4.729, and max_"),
        ({"privacy": LOCAL | {"max_epsilon": 4.8}}, "privacy: the first round would spend epsilon 10.73, and max_"),
    ],
)
def test_what_gives_no_guarantee_is_refused_when_it_is_planned(values: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError) as refused:
        checked_spec(SPEC | values)
    assert str(refused.value).startswith(said)


@pytest.mark.parametrize("strategy", ["FedAvg", "FedProx", "FedAvgM", "FedAdagrad", "FedAdam", "FedYogi", "FedOpt"])
def test_strategies_of_the_mean_accept_noise(strategy: str) -> None:
    assert checked_spec(SPEC | {"strategy": strategy}).privacy.central


def test_any_strategy_accepts_local_noise() -> None:
    assert checked_spec(SPEC | {"strategy": "FedTrimmedAvg", "privacy": LOCAL, "outlier_bound": 10}).privacy.local
