"""Load labelled records from an .npz or .csv file."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from zipfile import BadZipFile, ZipFile

import numpy as np

from fedstream.errors import UsageError
from fedstream.record.names import invalid_names

if TYPE_CHECKING:
    import pandas as pd

FILE_BYTES = 8 * 1024**3
"""Maximum size of the arrays of one file in bytes. They are held in memory until they are sent."""


class Records(NamedTuple):
    """Labelled records and the names of their columns.

    Attributes:
        x: Samples (n, ...).
        y: Labels (n, ...), which are numbers or text.
        features: Names of the columns of flat samples; empty if there are none, or if they cannot be announced.
    """

    x: np.ndarray
    y: np.ndarray
    features: list[str]


def load_records(path: Path, label: str = "label", shape: str = "", allow_nan: bool = False) -> Records:
    """Load labelled records.

    Args:
        path: An .npz file with x and y (or x_train and y_train), or a .csv file with a header.
        label: Column of the .csv file that contains the labels; all other columns are numeric features, sent as
            float32.
        shape: Shape of one sample, such as "28 28"; empty for the shape in the file.
        allow_nan: Read empty cells of features as NaN.

    Raises:
        UsageError: The file cannot be used. The message says what it contains and what is missing.
    """
    loaders = {".npz": lambda: Records(*_npz(path), []), ".csv": lambda: _csv(path, label, allow_nan)}
    if path.suffix not in loaders:
        raise UsageError(
            f"{path}: files of type {path.suffix or '(none)'!r} are not known; give an .npz or a .csv file"
        )
    if not path.is_file():
        raise UsageError(f"{path}: there is no such file")
    x, y, features = loaders[path.suffix]()
    if not x.ndim or not y.ndim:
        raise UsageError(f"{path}: x or y is a single number; the first dimension must count the records")
    if len(x) != len(y):
        raise UsageError(f"{path}: it has {len(x)} samples and {len(y)} labels; their numbers must be equal")
    if not len(x):
        raise UsageError(f"{path}: it has no records")
    return Records(_reshape(path, x, shape), y, []) if shape else Records(x, y, features)


def _npz(path: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        with open_npz(path) as arrays:
            for x, y in (("x", "y"), ("x_train", "y_train")):
                if x in arrays and y in arrays:
                    return arrays[x], arrays[y]
            raise UsageError(
                f"{path}: it has {', '.join(arrays) or 'nothing'}; expected arrays x and y, or x_train and y_train"
            )
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: it is not an .npz file of plain arrays ({error})") from error


@contextmanager
def open_npz(path: Path) -> Iterator[Mapping[str, np.ndarray]]:
    """Open an .npz file of plain arrays.

    Raises:
        OSError: The file cannot be read.
        ValueError: The file is not an .npz file, is damaged, or decompresses to more than is held in memory. This error
            can also occur while the arrays are read.
    """
    try:
        with ZipFile(path) as archive:
            inflated = sum(entry.file_size for entry in archive.infolist())
        if inflated > FILE_BYTES:
            raise ValueError(f"it inflates to {inflated:,} bytes, and {FILE_BYTES:,} are held at once; split it")
        with np.load(path, allow_pickle=False) as arrays:
            yield arrays
    except (BadZipFile, zlib.error, struct.error, EOFError, MemoryError, RecursionError, NotImplementedError) as error:
        raise ValueError(str(error) or type(error).__name__) from error


def _csv(path: Path, label: str, allow_nan: bool) -> Records:
    import pandas as pd

    try:
        frame = pd.read_csv(path)
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{path}: it is not UTF-8 (byte {error.start} is 0x{error.object[error.start]:02x}); "
            f"convert it, if it is Latin-1 with `iconv -f LATIN1 -t UTF-8 {path.name} > utf8.csv`"
        ) from error
    except (ValueError, OSError) as error:
        raise UsageError(f"{path}: it is not a .csv file with a header ({error})") from error
    try:
        return from_frame(frame, label, allow_nan)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error


def from_frame(frame: pd.DataFrame, label: str, allow_nan: bool = False) -> Records:
    """Split a table into a column of labels and numeric features.

    Args:
        frame: Table with one record per row.
        label: Name of the column of labels; integers stay class numbers, and text stays text.
        allow_nan: Read empty cells of features as NaN.

    Raises:
        UsageError: The table cannot be sent. The message names the column.
    """
    import pandas as pd

    frame = frame.rename(columns=lambda name: str(name).strip())
    if frame.empty:
        raise UsageError("it has no records")
    if unnamed := [
        position for position, name in enumerate(frame.columns) if re.fullmatch(r"(Unnamed: \d+(\.\d+)?)?", name)
    ]:
        raise UsageError(
            f"column {unnamed[0] + 1} has no name: it may be a row number, as pandas writes it, which is no feature; "
            "write the file with to_csv(..., index=False), or name or drop the column"
        )
    if label not in frame:
        raise UsageError(
            f"there is no column {label!r}; it has {', '.join(frame.columns)}. Name the labels' column with --label"
        )
    if double := [name for name in frame.columns if list(frame.columns).count(name) > 1]:
        raise UsageError(f"there are two columns {double[0]!r}; rename one")
    features = frame.drop(columns=label)
    if not len(features.columns):
        raise UsageError(f"there is no column besides {label!r}, so there are no features")
    if text := [name for name in features if not pd.api.types.is_numeric_dtype(features[name])]:
        raise UsageError(f"column {text[0]!r} is not numeric; encode or drop it")
    if empty := [name for name in frame if frame[name].isna().any() and (name == label or not allow_nan)]:
        otherwise = "" if empty[0] == label else ", or send NaN with --allow-nan"
        raise UsageError(f"column {empty[0]!r} has empty cells; fill or drop them{otherwise}")
    y = frame[label].to_numpy()
    if not pd.api.types.is_numeric_dtype(frame[label]):
        y = y.astype(str)
    else:
        y = y.astype(np.int64) if np.issubdtype(y.dtype, np.integer) else y.astype(np.float32)
    names = list(features.columns)
    return Records(features.to_numpy(dtype=np.float32), y, [] if invalid_names(names) else names)


def _reshape(path: Path, x: np.ndarray, shape: str) -> np.ndarray:
    parts = shape.split()
    if not parts or not all(re.fullmatch("[1-9][0-9]{0,8}", part) for part in parts):
        raise UsageError(f"shape {shape!r} is not understood; give whole numbers such as '28 28'")
    wanted = tuple(map(int, parts))
    if x[0].size != int(np.prod(wanted)):
        raise UsageError(f"{path}: a sample has {x[0].size} values, which cannot take the shape {wanted}")
    return x.reshape(len(x), *wanted)
