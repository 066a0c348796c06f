import random
from pathlib import Path

import numpy as np
import pytest

from fedstream.errors import UsageError
from fedstream.stream import files
from fedstream.stream.files import load_records


def npz(folder: Path, **arrays: np.ndarray) -> Path:
    np.savez(folder / "data.npz", **arrays)
    return folder / "data.npz"


def csv(folder: Path, text: str) -> Path:
    (folder / "data.csv").write_text(text)
    return folder / "data.csv"


@pytest.mark.parametrize("suffix", ["", "_train"])
def test_arrays_are_found_under_either_name(tmp_path: Path, suffix: str) -> None:
    x, y, _ = load_records(npz(tmp_path, **{f"x{suffix}": np.eye(3), f"y{suffix}": np.arange(3)}))
    np.testing.assert_array_equal(x, np.eye(3))
    np.testing.assert_array_equal(y, [0, 1, 2])


def test_a_table_gives_features_and_the_column_of_labels(tmp_path: Path) -> None:
    x, y, _ = load_records(csv(tmp_path, "a,class,b\n1,0,2.5\n3,1,4\n"), label="class")
    np.testing.assert_array_equal(x, np.array([[1, 2.5], [3, 4]], np.float32))
    assert (x.dtype, y.dtype) == (np.float32, np.int64)


def test_the_header_names_the_features_and_labels_may_be_texts(tmp_path: Path) -> None:
    found = load_records(csv(tmp_path, " age,label, bmi \n1,sick,2.5\n3,well,4\n"))
    assert found.features == ["age", "bmi"]
    assert found.y.tolist() == ["sick", "well"]


def test_more_columns_than_can_be_announced_go_without_names(tmp_path: Path) -> None:
    columns = [f"gene {number}" for number in range(1_001)]
    found = load_records(csv(tmp_path, f"{','.join(columns)},label\n{'1,' * 1_001}0\n"))
    assert (found.x.shape, found.features) == ((1, 1_001), [])


def test_empty_cells_are_nan_where_that_is_asked_for(tmp_path: Path) -> None:
    x, _, _ = load_records(csv(tmp_path, "a,b,label\n1,,0\n3,4,1\n"), allow_nan=True)
    assert np.isnan(x[0, 1])


def test_a_row_number_is_no_feature(tmp_path: Path) -> None:
    import pandas as pd

    pd.DataFrame({"a": [1.0, 2.0], "label": [0, 1]}).to_csv(tmp_path / "data.csv")
    with pytest.raises(
        UsageError, match=r"data.csv: column 1 has no name: it may be a row number.*to_csv\(..., index=False\)"
    ):
        load_records(tmp_path / "data.csv")
    pd.read_csv(tmp_path / "data.csv").to_csv(tmp_path / "again.csv")
    with pytest.raises(UsageError, match="column 1 has no name"):
        load_records(tmp_path / "again.csv")


def test_a_table_in_another_encoding_is_refused_with_how_to_convert_it(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_bytes("größe,label\n1,0\n".encode("latin-1"))
    with pytest.raises(UsageError, match=r"it is not UTF-8 \(byte 2 is 0xf6\); .*iconv -f LATIN1 -t UTF-8 data.csv"):
        load_records(tmp_path / "data.csv")


def test_a_table_s_names_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_bytes(b"\xef\xbb\xbfage,label\n1,0\n")
    assert load_records(tmp_path / "data.csv").features == ["age"]


def test_samples_take_the_shape_that_is_asked_for(tmp_path: Path) -> None:
    x, _, names = load_records(npz(tmp_path, x=np.zeros((5, 64)), y=np.zeros(5)), shape="8 8")
    assert (x.shape, names) == ((5, 8, 8), [])


@pytest.mark.parametrize(
    ("arrays", "shape", "reason"),
    [
        ({"a": np.zeros(2)}, "", "it has a; expected arrays x and y"),
        ({"x": np.zeros((2, 4)), "y": np.zeros(3)}, "", "2 samples and 3 labels"),
        ({"x": np.zeros((0, 4)), "y": np.zeros(0)}, "", "no records"),
        ({"x": np.zeros((2, 4)), "y": np.zeros(2)}, "3 3", "4 values"),
        ({"x": np.zeros((2, 4)), "y": np.zeros(2)}, "2x2", "not understood"),
        ({"x": np.float32(3), "y": np.float32(3)}, "", "single number"),
        ({"x": np.array([{}, {}]), "y": np.zeros(2)}, "", "not an .npz file of plain arrays"),
    ],
)
def test_arrays_that_cannot_be_sent_are_refused(
    tmp_path: Path, arrays: dict[str, np.ndarray], shape: str, reason: str
) -> None:
    with pytest.raises(UsageError, match=reason):
        load_records(npz(tmp_path, **arrays), shape=shape)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a,b\n1,2\n", "no column 'label'; it has a, b"),
        ("a,label\nred,1\n", "'a' is not numeric"),
        ("a, a,label\n1,2,0\n", "two columns 'a'"),
        ("a,label\n,0\n", "'a' has empty cells; fill or drop them, or send NaN with --allow-nan"),
        ("a,label\n1,\n", "'label' has empty cells"),
        ("", "not a .csv file"),
        ("label\n1\n", "no column besides"),
        ("a,label\n", "no records"),
    ],
)
def test_tables_that_cannot_be_sent_are_refused(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        load_records(csv(tmp_path, text))


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [("x.npz", b"no zip", "not an .npz file"), ("x.txt", b"", "not known"), ("missing.npz", None, "no such file")],
)
def test_files_that_are_something_else_are_refused(
    tmp_path: Path, name: str, content: bytes | None, reason: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=reason):
        load_records(tmp_path / name)


def test_of_a_damaged_file_of_arrays_only_a_usage_error_comes(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "good.npz", x=np.arange(60.0).reshape(20, 3), y=np.arange(20))
    good, chance, refused = (tmp_path / "good.npz").read_bytes(), random.Random(0), 0
    for _ in range(400):
        damaged = bytearray(good)
        for _ in range(chance.choice([1, 4])):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        path = tmp_path / "damaged.npz"
        path.write_bytes(damaged[: chance.randrange(len(damaged))] if chance.random() < 0.2 else damaged)
        try:
            load_records(path)
        except UsageError:
            refused += 1
    assert refused > 100


def test_arrays_that_would_not_fit_are_refused_before_they_are_read(tmp_path: Path) -> None:
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, x=np.zeros((10, 1000)), y=np.arange(10))
    data = bytearray(path.read_bytes())
    directory = data.index(b"PK\1\2")
    data[directory + 24 : directory + 28] = (0xFFFFFFF0).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "FILE_BYTES", 4 * 1024**3 - 100)
        with pytest.raises(
            UsageError, match=r"bomb\.npz.*it inflates to 4,294,9.* bytes, and .* are held at once; split it"
        ):
            load_records(path)
