"""The live table, drawn without a store: what stands in it, and that it fits a terminal."""

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from fedstream.cli.run_table import BAR_WIDTH, RunTable
from fedstream.cli.watch import Watch
from fedstream.errors import StoreUnavailable
from fedstream.record.canonical import canonical_json
from fedstream.record.commit import ClientEntry, Commit, Decision
from fedstream.record.documents import Metrics, Selection
from fedstream.record.layout import RoundKeys, RunKeys
from fedstream.record.run import MatchedClient, ModelReference, RunRecord
from fedstream.record.spec import RunSpec

DIGEST = "0" * 64


class Objects:
    """The calls of an object store that the table makes."""

    def __init__(self):
        self.objects = {}

    def put(self, key, document):
        self.objects[key] = canonical_json(document.model_dump(mode="json"))

    def exists(self, key):
        return key in self.objects

    def get(self, key, limit=None):
        return self.objects[key]

    def list(self, prefix):
        return [SimpleNamespace(key=key) for key in self.objects if key.startswith(prefix)]


def plan(store, **spec):
    values = {"run": "r", "model": "m", "rounds": 2, **spec}
    reference = ModelReference(name="m", keras_digest=DIGEST, weights_digest=DIGEST, description_digest=DIGEST)
    held = MatchedClient(
        client="held", bootstrap_servers="", ranges="held:0:0:9", input_config={}, held_out_rate=0, records=9
    )
    evaluation = held if "evaluation_topic" in spec else None
    store.put(
        RunKeys("r").spec,
        RunRecord(spec=RunSpec(**values), model=reference, clients=[], evaluation=evaluation, announcements=[]),
    )
    commit(store, 0, "initial")


def commit(store, round, kind, accepted=(True, True), measured=None, stop="", restores=None):
    clients = (
        []
        if kind in ("initial", "rollback")
        else [client_entry(number, taken) for number, taken in enumerate(accepted)]
    )
    metrics = (
        Metrics(num_examples=10, values={"accuracy": 0.25 + round / 10, "loss": 1.5}, confusion=None)
        if measured is not None
        else None
    )
    digests = {"parent": DIGEST, "base_digest": DIGEST, "weights_digest": DIGEST, "code_version": "1"}
    others = {"decision": Decision(action="stop" if stop else "continue", reason=stop), "restores": restores, **digests}
    found = Commit(run="r", round=round, kind=kind, clients=clients, measured_round=measured, metrics=metrics, **others)
    store.put(RoundKeys("r", round).commit, found)


def client_entry(number, accepted):
    nothing = dict.fromkeys(("update_digest", "manifest_digest", "slice_digest", "incoming", "trained"))
    return ClientEntry(client=f"c{number}", accepted=accepted, reason="", num_examples=600, ranges=[], **nothing)


def drawn(store, width=80, rounds=2, done=False):
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(RunTable(store, "r", rounds).draw(done))
    return console.file.getvalue().splitlines()


def cells(line):
    return [cell.strip() for cell in line.strip("│").split("│")]


def rows(lines):
    return [cells(line) for line in lines if line.startswith("│")]


def test_before_anything_is_on_record_the_run_is_being_planned():
    assert rows(drawn(Objects())) == [["", "", "", "planning"]]


def test_what_a_later_round_measured_stands_in_the_row_of_its_model():
    store = Objects()
    plan(store)
    commit(store, 1, "training", measured=0)
    commit(store, 2, "training", accepted=(True, False), measured=1)
    assert rows(drawn(store)) == [
        ["0", "", "", "0.3500", "1.5000", "initial model"],
        ["1", "2/2", "1,200", "0.4500", "1.5000", "committed"],
        ["2", "1/2", "600", "", "", "committed"],
        ["", "", "", "", "", "starting"],
    ]


def test_the_open_round_says_how_far_it_is():
    store = Objects()
    plan(store)
    keys = RoundKeys("r", 1)
    store.put(keys.selection, Selection(run="r", round=1, kind="training", clients=["a", "b"]))
    assert rows(drawn(store))[-1] == ["1", "0/2", "", "", "reading streams"]
    store.objects[keys.slice("a")] = b""
    assert rows(drawn(store))[-1] == ["1", "0/2", "", "", "training"]
    store.objects[keys.manifest("a")] = b""
    assert rows(drawn(store))[-1] == ["1", "1/2", "", "", "training"]
    store.objects[keys.manifest("b")] = b""
    assert rows(drawn(store))[-1] == ["1", "2/2", "", "", "aggregating"]
    store.objects[keys.weights] = b""
    assert rows(drawn(store))[-1] == ["1", "2/2", "", "", "evaluating"]


@pytest.mark.parametrize("stop", ["", "target reached"])
def test_after_the_last_round_the_model_is_published_and_then_no_row_is_open(stop):
    store = Objects()
    plan(store, rounds=9 if stop else 1)
    commit(store, 1, "training", measured=0, stop=stop)
    assert rows(drawn(store, rounds=9 if stop else 1))[-1][-1] == "starting"
    commit(store, 2, "closing", measured=1)
    assert rows(drawn(store, rounds=9 if stop else 1))[-1][-1] == "publishing"
    assert rows(drawn(store, rounds=9 if stop else 1, done=True))[-1][-1] == "measured"
    assert any(stop in line for line in drawn(store))


def test_a_simulation_is_one_line_with_a_bar_and_the_newest_measurement():
    store = Objects()
    plan(store, rounds=4)
    for round in (1, 2):
        commit(store, round, "training", measured=round)
    console = Console(file=io.StringIO(), width=80, force_terminal=False)
    console.print(RunTable(store, "r", 4, clock=lambda: 0.0).bar())
    (line,) = console.file.getvalue().splitlines()
    assert line.startswith("round 2 of 4 ")
    assert line.count("━") == BAR_WIDTH // 2
    assert "accuracy 0.4500, loss 1.5000 0 s" in line


def test_the_bar_is_full_when_a_run_stops_early():
    store = Objects()
    plan(store, rounds=9)
    commit(store, 1, "training", measured=0, stop="target reached")
    commit(store, 2, "closing", measured=1)
    console = Console(file=io.StringIO(), width=80, force_terminal=False)
    console.print(RunTable(store, "r", 9).bar(ended=True))
    assert console.file.getvalue().count("━") == BAR_WIDTH


def test_a_terminal_shows_what_it_is_told_to_draw():
    store = Objects()
    plan(store)
    console = Console(file=io.StringIO(), width=80, force_terminal=True)
    with Watch(store, "r", 2, console, RunTable.bar):
        pass
    assert "round 0 of 2" in console.file.getvalue()


@pytest.mark.parametrize("width", [80, 120])
def test_a_row_is_a_line_and_the_table_fits(width):
    store = Objects()
    plan(store, rounds=40)
    for round in range(1, 41):
        commit(store, round, "training", measured=round - 1)
    lines = drawn(store, width, rounds=40)
    assert len(lines) <= 24
    assert max(map(len, lines)) <= width
    assert len({len(line.rstrip()) for line in lines if line[:1] in "│┃┏┡└"}) == 1
    assert rows(lines)[-2][0] == "40"


def test_the_time_left_counts_down_from_the_rounds_that_were_done():
    store = Objects()
    plan(store, evaluation_topic="held")
    now = [1000.0]
    table = RunTable(store, "r", 2, lambda: now[0])
    assert "left" not in table.caption()
    commit(store, 1, "training", measured=1)
    now[0] += 100.5
    assert [found.round for found in table.update()] == [1]
    now[0] += 29.8
    assert table.caption() == "2 min 10 s, about 1 min 10 s left"


def test_without_a_terminal_each_round_is_one_line_and_none_of_an_earlier_submission():
    store = Objects()
    plan(store)
    commit(store, 1, "training", measured=0)
    console = Console(file=io.StringIO(), width=40)
    with Watch(store, "r", 2, console):
        commit(store, 2, "training", accepted=(True, False), measured=1)
        commit(store, 3, "closing", measured=2)
    assert console.file.getvalue().splitlines() == [
        "round 2 of 2: 1/2 clients, 600 records; round 1 had accuracy 0.4500, loss 1.5000; committed",
        "closing pass: 2/2 clients, 1200 records; round 2 had accuracy 0.5500, loss 1.5000; measured",
    ]


def test_a_run_of_three_rounds_that_has_grown_ends_at_round_3_and_not_at_its_fifth_commit():
    store, console = Objects(), Console(file=io.StringIO(), width=80)
    plan(store, rounds=3)
    with Watch(store, "r", 3, console):
        for round, kind in enumerate(("training", "closing", "training", "training", "closing"), start=1):
            commit(store, round, kind, measured=round - 1)
    told = console.file.getvalue().splitlines()
    assert [line.partition(":")[0] for line in told] == [
        "round 1 of 3",
        "closing pass",
        "round 2 of 3",
        "round 3 of 3",
        "closing pass",
    ]
    assert "the initial model had accuracy" in told[0]
    assert "round 3 had accuracy" in told[-1]
    assert [row[0] for row in rows(drawn(store, rounds=3, done=True))] == ["0", "1", "closing", "2", "3", "closing"]


def test_a_run_that_was_rolled_back_can_be_followed():
    store = Objects()
    plan(store)
    commit(store, 1, "training", measured=1)
    commit(store, 2, "rollback", restores=0)
    assert rows(drawn(store))[2] == ["rollback", "", "", "", "", "back to 0"]


def test_rounds_that_a_rollback_took_back_are_not_counted():
    store = Objects()
    plan(store)
    commit(store, 1, "training", measured=1)
    commit(store, 2, "training", measured=2, stop="target reached")
    commit(store, 3, "rollback", restores=1)
    assert rows(drawn(store))[-1][-1] == "starting"
    commit(store, 4, "training", measured=4)
    assert [row[0] for row in rows(drawn(store, done=True))] == ["0", "1", "2", "rollback", "2"]


def test_a_round_that_was_read_just_before_the_store_went_away_is_told_when_it_is_back(monkeypatch):
    store, console = Objects(), Console(file=io.StringIO(), width=80)
    plan(store)
    watch = Watch(store, "r", 2, console)
    watch.look()
    commit(store, 1, "training")

    def away_after_it(key):
        if key == RoundKeys("r", 2).commit:
            raise StoreUnavailable("the store is away")
        return key in store.objects

    with monkeypatch.context() as patch:
        patch.setattr(store, "exists", away_after_it)
        watch.look()
    watch.look()
    watch.look()
    assert console.file.getvalue().splitlines() == [
        "cannot read the state of the run: the store is away",
        "round 1 of 2: 2/2 clients, 1200 records; committed",
    ]


def test_markup_in_a_commit_is_shown_and_not_obeyed():
    store = Objects()
    plan(store, target_metric="[/x]")
    commit(store, 1, "training", measured=1, stop="[/x] [red]y[/]\\[b]")
    assert "stop: [/x] [red]y[/]\\[b]" in "".join(drawn(store, width=200))


def test_an_indefinite_run_has_no_last_round():
    store = Objects()
    plan(store, indefinite=True, feed={"kind": "new"}, rounds=1)
    for number in (1, 2, 3):
        commit(store, number, "training")
    assert rows(drawn(store, rounds=1))[-1][-1] == "starting"
    table = RunTable(store, "r", 1)
    commit(store, 4, "training")
    assert [table.line(found).split(":")[0] for found in table.update()] == ["round 4"]
