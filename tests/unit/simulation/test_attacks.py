"""What attackers send, computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from fedstream.errors import UsageError
from fedstream.model.examples import Examples
from fedstream.simulation.attacks import FORGERIES, Attack, parse_attack

LABELS = np.array([0, 1, 2], np.uint8)
RECEIVED = {"a": np.array([1.0, 2.0], np.float32), "n": np.array([3], np.int64)}
TRAINED = {"a": np.array([2.0, 0.0], np.float32), "n": np.array([3], np.int64)}


def sent(text: str, received=RECEIVED, trained=TRAINED):
    return parse_attack(text, LABELS).weights(received, trained)


@pytest.mark.parametrize(
    ("attack", "values"),
    [
        ("signflip", [0.0, 4.0]),
        ("signflip:3", [-2.0, 8.0]),
        ("scaled", [6.0, -8.0]),
        ("scaled:20", [21.0, -38.0]),
        ("freerider", [1.0, 2.0]),
        ("labelflip", [2.0, 0.0]),
        ("nan", [np.nan, np.nan]),
    ],
)
def test_an_attack_moves_the_received_model(attack, values):
    assert np.array_equal(sent(attack)["a"], np.array(values, np.float32), equal_nan=True)


@pytest.mark.parametrize("attack", FORGERIES)
def test_names_types_and_whole_numbers_stay(attack):
    forged = sent(attack)
    assert {name: (value.dtype, value.shape) for name, value in forged.items()} == {
        name: (value.dtype, value.shape) for name, value in TRAINED.items()
    }
    assert forged["n"].tolist() == [3]


def test_colluders_go_the_same_way_as_far_as_each_trained():
    other = {"a": np.array([1.0, 7.0], np.float32), "n": TRAINED["n"]}
    one, two = sent("colluding")["a"] - RECEIVED["a"], sent("colluding", trained=other)["a"] - RECEIVED["a"]
    assert np.linalg.norm(one) == pytest.approx(np.sqrt(5), rel=1e-6)
    assert np.linalg.norm(two) == pytest.approx(5, rel=1e-6)
    assert one @ two == pytest.approx(np.linalg.norm(one) * np.linalg.norm(two), rel=1e-6)
    assert np.array_equal(sent("colluding")["a"], sent("colluding")["a"])
    assert not np.allclose(sent("colluding", received=RECEIVED | {"a": np.array([1.0, 3.0], np.float32)})["a"] - 1, one)


def test_an_array_that_was_not_received_stays():
    trained = TRAINED | {"own": np.ones(2, np.float32)}
    for attack in ("signflip", "scaled", "freerider", "colluding"):
        assert sent(attack, trained=trained)["own"].tolist() == [1.0, 1.0]


def test_flipped_labels_are_trained_on_but_not_measured_on():
    y = np.array([0, 1, 2, 0], np.uint8)
    held_out = np.array([False, False, False, True])
    for labels in (y, y.reshape(-1, 1)):
        flipped = parse_attack("labelflip", LABELS).examples(Examples(np.zeros((4, 2)), labels, held_out)).y
        assert flipped.dtype == np.uint8
        assert flipped.shape == labels.shape
        assert flipped.ravel().tolist() == [2, 1, 0, 0]
    examples = Examples(np.zeros((4, 2)), y, held_out)
    assert parse_attack("nan", LABELS).examples(examples) is examples


@pytest.mark.parametrize(
    ("text", "labels", "said"),
    [
        ("bribe", LABELS, "attack 'bribe' is not known; use labelflip, signflip, scaled, nan, freerider, colluding"),
        ("nan:2", LABELS, "attack 'nan:2': nan has no strength; use nan"),
        ("scaled:", LABELS, "attack 'scaled:': '' is not a number above 0 and below 1,000,000"),
        ("scaled:-1", LABELS, "attack 'scaled:-1': '-1' is not a number above 0"),
        ("labelflip", np.array([0.5]), "attack 'labelflip' needs labels that are class numbers 0, 1, ..."),
        ("labelflip", np.array([-1]), "needs labels that are class numbers"),
        ("labelflip", np.array([[1, 2]]), "needs labels that are class numbers"),
    ],
)
def test_other_attacks_are_refused(text, labels, said):
    with pytest.raises(UsageError) as error:
        parse_attack(text, labels)
    assert said in str(error.value)


def test_the_name_of_an_attacker_tells_a_strength_that_is_not_the_default():
    assert Attack("scaled", 5.0).label == "scaled"
    assert Attack("scaled", 2.5).label == "scaled-2.5"
