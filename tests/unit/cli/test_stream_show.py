"""What `fedstream stream show` prints of any kind of sample."""

import numpy as np

from fedstream.cli.stream_show import _document, _table
from fedstream.record.offsets import OffsetRange
from fedstream.stream.announcement import DataAnnouncement
from fedstream.stream.records import Column, RawRecords
from fedstream.stream.sampling import Sample, all_of, first_of, still_kept

RANGES = [OffsetRange("t", 0, 5, 8)]


def sample_of(x: np.ndarray, y: np.ndarray, **said: object) -> Sample:
    announced = DataAnnouncement(topic="t:0:5:8", input_format="RAW", input_config={}, client="c", **said)
    return Sample(announced, RANGES, 3, RawRecords(RANGES, Column(), Column()), x, y)


def cells(sample: Sample) -> list[list[str]]:
    return [[str(cell) for cell in column.cells] for column in _table(sample, 2).columns]


def test_columns_have_their_names_and_long_samples_an_end() -> None:
    rows = sample_of(
        np.arange(30).reshape(3, 10), np.array([0, 1, 1]), features=list("abcdefghij"), classes=["no", "yes"]
    )
    at, label, values = cells(rows)
    assert (at, label) == (["t:0:5", "t:0:6"], ["no", "yes"])
    assert values[0] == "a=0 b=1 c=2 d=3 e=4 f=5 g=6 h=7 ..."


def test_several_inputs_and_texts_are_shown_by_name_and_as_they_are() -> None:
    x = np.zeros(3, [("age", np.float32), ("scan", np.uint8, (2, 2))])
    x["scan"][1] = 7
    both = sample_of(x, np.array(["ill", "well", "ill"], object))
    assert cells(both)[2][1] == "age: 0.0; scan: 7 7 7 7"
    document = _document(both, 2)
    assert document["samples"][1] == {"at": "t:0:6", "label": "well", "data": {"age": 0.0, "scan": [[7, 7], [7, 7]]}}
    assert document["labels"] == {"ill": 2, "well": 1}
    words = sample_of(np.array(["a b", "c", "d"], object), np.array([0, 1, 2]))
    assert cells(words)[2] == ["a b", "c"]


def test_ranges_are_cut_to_what_topics_keep_and_to_so_many_records() -> None:
    bounds = {"t": {0: (3, 9), 1: (4, 4)}, "u": {0: (0, 2)}}
    wanted = [
        OffsetRange("t", 0, 0, 5),
        OffsetRange("t", 0, 7, 20),
        OffsetRange("t", 2, 0, 5),
        OffsetRange("v", 0, 0, 1),
    ]
    assert [str(r) for r in still_kept(bounds, wanted)] == ["t:0:3:5", "t:0:7:9"]
    assert [str(r) for r in all_of(bounds)] == ["t:0:3:9", "u:0:0:2"]
    assert [str(r) for r in first_of(still_kept(bounds, wanted), 3)] == ["t:0:3:5", "t:0:7:8"]
    assert first_of(wanted, 0) == []
