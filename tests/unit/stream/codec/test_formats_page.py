"""Every announcement on the page about formats can be read, and its records can be written."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from support.codecs import records

from fedstream.stream.announcement import parse_data_announcement
from fedstream.stream.codec import CODECS, get_codec

PAGE = (Path(__file__).parents[4] / "docs/formats.md").read_text()
EXAMPLES = [json.loads(text) for text in re.findall(r"```json\n(.*?)\n```", PAGE, re.DOTALL)]


def filled(dtype, shape):
    """Return an array of ones, and of a text."""
    if dtype.names:
        found = np.zeros((), dtype)
        for name in dtype.names:
            found[name] = filled(dtype[name].base, dtype[name].shape)
        return found
    return np.full(shape, "text" if dtype.kind == "O" else 1, dtype)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example["input_format"])
def test_an_example_is_an_announcement(example):
    said = parse_data_announcement(json.dumps({"topic": "t:0:0:1", **example}).encode())
    codec = get_codec(said.format)
    if "registry" in example["input_config"]:
        return
    sample, label = filled(codec.data_dtype, codec.data_shape), filled(codec.label_dtype, codec.label_shape)
    x, y = codec.decode_records(records(*([part] for part in codec.encode(sample, label))))
    np.testing.assert_array_equal(x, sample[np.newaxis])
    np.testing.assert_array_equal(y, label[np.newaxis])


@pytest.mark.parametrize(
    ("record", "number", "sample", "label"),
    [
        ('{"age": 40, "bmi": 22.5, "outcome": 1, "ward": "7"}', 1, [40.0, 22.5], 1),
        ("7;40;22.5;well", 7, [40.0, 22.5], "well"),
    ],
)
def test_a_record_on_the_page_is_read_by_the_example_above_it(record, number, sample, label):
    assert f"reads `{record}`" in PAGE
    example = EXAMPLES[number]
    said = parse_data_announcement(json.dumps({"topic": "t:0:0:1", **example}).encode())
    x, y = get_codec(said.format).decode_records(records([record.encode()], [b""]))
    assert (x.tolist(), y.tolist()) == ([sample], [label])


def test_every_format_has_an_example():
    assert {example["input_format"] for example in EXAMPLES} == CODECS.keys()
