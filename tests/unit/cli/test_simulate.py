"""`fedstream simulate` and the commands on the folder that it leaves."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fedstream.cli.options import INTERRUPTED

SIMULATE = "simulate --model builtin:numpy-softmax --batch-size 10 --clients 4"


def test_a_folder_is_read_by_the_other_commands(command):
    code, out, err = command(f"{SIMULATE} --rounds 2 --store kept --name first")
    assert code == 0
    assert out.startswith("run first: 2 rounds")
    assert [line.partition(":")[0] for line in err.splitlines()] == ["round 1 of 2", "round 2 of 2"]
    code, out, _ = command("verify first --store kept --json")
    assert (code, json.loads(out)["rounds"]) == (0, 2)
    assert len(json.loads(command("rounds first --store kept --json")[1])["rounds"]) == 3
    assert json.loads(command("runs --store kept --json")[1])["runs"][0]["run"] == "first"
    assert command("report first --store kept")[0] == 0
    assert "client-4" in Path("first.html").read_text()


def test_it_speaks_json(command):
    code, out, _ = command(f"{SIMULATE} --rounds 1 --attack nan --attackers 1 --json")
    outcome = json.loads(out)
    assert code == 0
    assert (outcome["run"], outcome["rounds"], outcome["clients"]) == ("simulation", 1, {"took_part": 3, "meant": 4})
    assert outcome["absent"][0]["client"] == "client-4-nan"


def test_a_file_of_arrays_is_a_data_set(command):
    rng = np.random.default_rng(0)
    arrays = {"x": rng.integers(0, 17, (40, 8, 8)).astype(np.uint8), "y": np.arange(40) % 10, "ward": np.arange(40) % 2}
    np.savez("own.npz", **arrays)
    code, out, _ = command(f"{SIMULATE} --rounds 1 --dataset own.npz --partition column:ward --json")
    assert (code, json.loads(out)["clients"]) == (0, {"took_part": 2, "meant": 2})


def test_an_interrupted_simulation_says_how_to_go_on(command, monkeypatch):
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("fedstream.local.inprocess.order.run_round", interrupt)
    assert command(f"{SIMULATE} --store kept")[::2] == (
        INTERRUPTED,
        "interrupted; run the same command again to continue where it stopped\n",
    )
    assert command(SIMULATE)[::2] == (INTERRUPTED, "interrupted; nothing is kept without --store\n")


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("--dataset none.npz", 2, "data set 'none.npz' cannot be used: "),
        ("--partition mad", 2, "partition 'mad' is not known; use iid, shards[:PER_CLIENT] or dirichlet[:ALPHA], or"),
        ("--attack nan", 2, "attack is 'nan' and attackers is 0; give both, or neither of them"),
        ("--attack bribe --attackers 1", 2, "attack 'bribe' is not known; use labelflip, signflip, scaled, nan, freer"),
        ("--clients 1001", 2, "Invalid value for '--clients': Input should be less than or equal to 1000"),
        ("--model nothing", 2, "'nothing' is neither a file nor `package.module:function`"),
        ("--strategy Best", 2, "strategy"),
        ("--target-metric auc", 2, "target_metric: model 'builtin:numpy-softmax' does not report 'auc'"),
        ("--store file", 1, "/file' cannot be used: Not a directory; use a folder that you can write to"),
    ],
)
def test_a_wrong_command_is_one_line(command, line, code, said):
    Path("file").touch()
    ended, out, err = command(f"{SIMULATE} {line}")
    assert (ended, out) == (code, ""), err
    assert err.startswith("error: ")
    assert said in err
    assert len(err.splitlines()) == 1, err


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("rounds r --store nowhere", "--store 'nowhere': there is no such folder"),
        ("verify r --store . --stream", "--stream reads the records again, but those of a simulation end with it"),
        ("verify r --store .", "there is no run 'r'"),
    ],
)
def test_a_folder_that_does_not_fit_is_refused(command, line, said):
    code, out, err = command(line)
    assert code in (1, 2)
    assert said in err
    assert not out
