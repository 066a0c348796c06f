"""Measure how fast records become numpy arrays, compared with the library that parses their bytes.

    python -m benchmarks.codecs [RECORDS]

The library's own rate is a loop that calls it once for each value, and once for each key that contains a label, and
keeps nothing but its results: fastavro's `schemaless_reader` for Avro and `orjson.loads` for JSON. Both loops read the
same bytes in turns, in one process; compare the ratios, not the rates.
"""

from __future__ import annotations

import io
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import fastavro
import numpy as np
import orjson

from fedstream.cli.output import print_table
from fedstream.record.offsets import OffsetRange
from fedstream.stream.codec import codec_class
from fedstream.stream.records import Column, RawRecords

TURNS = 9
POLL = 500
"""Records of a batch, as kafka-python returns them."""
HEAD = 5
"""Bytes before the data in Confluent's wire format."""

FORMATS = ("AVRO", "CONFLUENT_AVRO", "JSON", "CONFLUENT_JSON")


def tables(records: int) -> dict[str, np.ndarray]:
    """Return tables of numbers with a few and with many columns, and pictures."""
    rng = np.random.default_rng(0)
    return {
        "4 numbers": rng.normal(size=(records, 4)).astype(np.float32),
        "30 numbers": rng.normal(size=(records, 30)).astype(np.float32),
        "28 x 28 bytes": rng.integers(0, 256, (records // 20, 28, 28)).astype(np.uint8),
    }


def laid_out(format: str, x: np.ndarray) -> tuple[Any, RawRecords]:
    """Return the codec of samples, and records of them."""
    names = [f"column_{number}" for number in range(x.shape[1])] if x.ndim == 2 else []
    codec = codec_class(format).from_sample(x[0], np.asarray(np.uint8(0)), names)
    found = RawRecords([OffsetRange("t", 0, 0, len(x))], Column(), Column())
    for first in range(0, len(x), POLL):
        pairs = [codec.encode(sample, np.uint8(number % 10)) for number, sample in enumerate(x[first : first + POLL])]
        found.values.extend([value for value, _ in pairs])
        found.keys.extend([key for _, key in pairs])
    return codec, found


def library(format: str, codec: Any, records: RawRecords) -> Callable[[], object]:
    """Return the library's own loop over the same bytes: all values, and keys that contain labels."""
    head = HEAD if format.startswith("CONFLUENT") else 0
    parts = [[part[head:] for part in column] for column in (records.values, records.keys)]
    if codec.label_field:
        del parts[1]
    if format.endswith("JSON"):
        return lambda: [[orjson.loads(part) for part in own] for own in parts]
    texts = [codec.data_scheme, codec.label_scheme] if format == "AVRO" else [codec.schemas[0][1]]
    schemas = [fastavro.parse_schema(orjson.loads(text)) for text in texts]
    return lambda: [
        [fastavro.schemaless_reader(io.BytesIO(part), schema, None) for part in own]
        for own, schema in zip(parts, schemas, strict=True)
    ]


def seconds(work: Callable[[], object]) -> float:
    """Return the processor seconds of a piece of work, in which other programs have no part."""
    began = time.process_time()
    work()
    return time.process_time() - began


def measure(format: str, name: str, x: np.ndarray) -> list[object]:
    codec, records = laid_out(format, x)
    alone, ours = library(format, codec, records), lambda: codec.decode_records(records)
    pairs = [(seconds(alone), seconds(ours)) for _ in range(TURNS)]
    rates = [len(x) / min(own) for own in zip(*pairs, strict=True)]
    ratio = statistics.median(own / mine for own, mine in pairs)
    return [format, name, *(f"{rate:,.0f}" for rate in rates), f"{ratio:.0%}"]


def main() -> None:
    records = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    rows = [measure(format, name, x) for format in FORMATS for name, x in tables(records).items()]
    columns = ["format", "sample", "library/s", "ours/s", "ours:library"]
    print_table(f"records into numpy, per processor second, the best of {TURNS} turns", columns, rows)


if __name__ == "__main__":
    main()
