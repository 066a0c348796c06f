import numpy as np
import pytest

from fedstream.errors import RecordError
from fedstream.stream.finite import check_finite


def test_finite_numbers_of_any_type_pass() -> None:
    for dtype in ("float16", "float32", "float64", "uint8", "int64", "bool"):
        check_finite(np.ones((3, 2), dtype), "sample")


@pytest.mark.parametrize(("value", "said"), [(np.nan, "nan"), (np.inf, "inf"), (-np.inf, "-inf")])
def test_the_first_record_and_column_are_named(value: float, said: str) -> None:
    x = np.zeros((5, 3), np.float32)
    x[2, 1] = x[4, 0] = value
    with pytest.raises(
        RecordError,
        match=rf"the sample of record 12 has {said} in column 'bmi' \(2 of 5 records have NaN or infinity\); "
        r".*--allow-nan",
    ):
        check_finite(x, "sample", 10, ["age", "bmi", "sex"])
    with pytest.raises(RecordError, match=rf"the sample of record 2 has {said} at index 1 \("):
        check_finite(x, "sample")


def test_a_picture_is_named_by_its_index_and_a_label_by_its_record() -> None:
    x = np.zeros((1, 2, 2))
    x[0, 1, 0] = np.nan
    with pytest.raises(RecordError, match=r"the sample of record 0 has nan at index 1, 0; correct"):
        check_finite(x, "sample")
    with pytest.raises(RecordError, match=r"the label of record 1 has inf \(1 of 2"):
        check_finite(np.array([0, np.inf]), "label")
