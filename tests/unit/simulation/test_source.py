"""The data set of a simulation, and its virtual clients."""

from __future__ import annotations

import numpy as np
import pytest

from fedstream.errors import UsageError
from fedstream.simulation.federation import Setting, form_federation
from fedstream.simulation.source import read_source, source_of

X, Y = np.arange(24, dtype=np.float32).reshape(12, 2), np.arange(12) % 3


def names(setting: Setting, source=None) -> list[str]:
    return list(form_federation(source or source_of(X, Y), setting, 0).owners)


def test_a_file_has_test_records_and_columns(tmp_path):
    path = tmp_path / "own.npz"
    np.savez(path, x_train=X, y_train=Y, x_test=X[:2], y_test=Y[:2], ward=np.arange(12), mean=np.zeros(2))
    source = read_source(str(path))
    assert np.array_equal(source.x, X)
    assert np.array_equal(source.test[1], Y[:2])
    assert list(source.columns) == ["ward"]
    np.savez(path, x=X, y=Y)
    assert read_source(str(path)).test is None


def test_the_digits_have_a_model():
    source = read_source("digits")
    assert source.model == "builtin:digits-mlp"
    assert (len(source.y), len(source.test[1])) == (1437, 360)


def test_flat_samples_get_the_shape_of_the_model():
    source = source_of(X, Y, (X[:3], Y[:3])).shaped([2, 1])
    assert (source.x.shape, source.test[0].shape) == ((12, 2, 1), (3, 2, 1))
    assert np.array_equal(source.x.ravel(), X.ravel())
    for other in (source_of(X, Y), source_of(X, Y, features=["a", "b"]), source):
        assert other.shaped([2, 2]) is other
    assert source_of(X, Y, features=["a", "b"]).shaped([2, 1]).x.shape == (12, 2)
    assert source_of(np.zeros((3, 784)), Y[:3]).model == "builtin:mnist-2nn"


def test_text_labels_are_numbered_over_all_records():
    source = source_of(X, np.array(["ill", "well"] * 6), (X[:1], np.array(["well"])))
    assert source.classes == ["ill", "well"]
    assert source.y.tolist() == [0, 1] * 6
    assert source.test[1].tolist() == [1]


def test_attackers_are_the_last_clients_and_are_marked():
    setting = Setting(clients=10, attack="scaled:2", attackers=2)
    federation = form_federation(source_of(X, Y), setting, 0)
    assert list(federation.owners)[-3:] == ["client-08", "client-09-scaled-2", "client-10-scaled-2"]
    assert federation.attackers == {"client-09-scaled-2", "client-10-scaled-2"}
    honest = form_federation(source_of(X, Y), Setting(clients=10), 0)
    for one, other in zip(federation.owners.values(), honest.owners.values(), strict=True):
        assert np.array_equal(one, other)


def test_a_column_names_the_clients():
    source = source_of(X, Y, columns={"ward": np.array([7, 9, 9] * 4)})
    federation = form_federation(source, Setting(partition="column:ward"), 0)
    assert {name: len(own) for name, own in federation.owners.items()} == {"7": 4, "9": 8}


def test_a_client_without_records_does_not_exist():
    assert 2 <= len(names(Setting(clients=12, partition="dirichlet:0.01"))) < 12


def test_labels_of_one_column_are_dealt_like_flat_ones():
    one, other = (form_federation(source_of(X, y), Setting(3, "shards"), 0).owners for y in (Y, Y.reshape(-1, 1)))
    assert all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        (Setting(attack="nan"), "attack is 'nan' and attackers is 0; give both, or neither of them"),
        (Setting(attackers=2), "attack is '' and attackers is 2; give both, or neither of them"),
        (Setting(clients=3, attack="nan", attackers=4), "attackers is 4, but there are only 3 clients"),
        (Setting(partition="mad"), "use iid, shards[:PER_CLIENT] or dirichlet[:ALPHA], or column:NAME"),
        (
            Setting(partition="column:site"),
            "partition 'column:site': there is no column 'site' of the records; there are ward",
        ),
        (Setting(partition="column:ward"), "client name 'ward 7' cannot be used"),
        (Setting(clients=13), "12 records cannot be divided among 13 clients"),
    ],
)
def test_a_setting_that_does_not_fit_is_refused(setting, said):
    source = source_of(X, Y, columns={"ward": np.array(["ward 7"] * 12)})
    with pytest.raises(UsageError) as error:
        form_federation(source, setting, 0)
    assert said in str(error.value)


def test_a_client_cannot_have_the_name_of_the_test_records():
    source = source_of(X, Y, (X, Y), {"ward": np.array(["evaluation"] * 12)})
    with pytest.raises(UsageError, match="a client cannot be called 'evaluation', which is the topic of the test rec"):
        form_federation(source, Setting(partition="column:ward"), 0)


def test_arrays_that_do_not_belong_together_are_refused(tmp_path):
    with pytest.raises(UsageError, match="there are 12 samples and 2 labels; their numbers must be equal, and at leas"):
        source_of(X, Y[:2])
    with pytest.raises(UsageError, match="there are 0 test samples and 0 test labels"):
        source_of(X, Y, (X[:0], Y[:0]))
    with pytest.raises(UsageError, match=r"samples have shape \(2,\), but the test samples have \(1,\)"):
        source_of(X, Y, (X[:, :1], Y))
    with pytest.raises(UsageError, match=r"no built-in model takes samples of shape \(2,\); name a model with --model"):
        _ = source_of(X, Y).model
    with pytest.raises(UsageError, match=r"none\.npz' cannot be used: .*No such file"):
        read_source(str(tmp_path / "none.npz"))
    np.savez(tmp_path / "other.npz", a=X)
    with pytest.raises(UsageError, match=r"other\.npz' has a; expected arrays x_train and y_train"):
        read_source(str(tmp_path / "other.npz"))
