"""The command `fedstream infer`, for streaming inference."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from fedstream.cli.output import err, out, print_json
from fedstream.errors import UsageError


def infer(
    model: Annotated[
        str,
        typer.Option(
            metavar="NAME[@N|@ALIAS]",
            help="Model and version. An alias is followed when it moves; without a version, the newest is used, "
            "including later ones.",
            show_default=False,
        ),
    ],
    input_topic: Annotated[str, typer.Option(help="Topic of the records.", show_default=False)],
    output_topic: Annotated[str, typer.Option(help="Topic of the predictions.", show_default=False)],
    error_topic: Annotated[
        str, typer.Option(help="Topic of the records that cannot be predicted.", show_default="count and log them")
    ] = "",
    group: Annotated[
        str,
        typer.Option(
            help="Consumer group, whose members share the partitions.",
            show_default="named after the model and the topics",
        ),
    ] = "",
    input_config: Annotated[
        str,
        typer.Option(
            help="""Format of the records, such as '{"data_type": "float32", "data_reshape": "28 28"}', """
            "or a JSON file.",
            show_default="as in training",
        ),
    ] = "",
    input_format: Annotated[
        str, typer.Option(help="Format that --input-config describes, such as RAW or JSON.")
    ] = "RAW",
    batch_size: Annotated[
        int, typer.Option(min=1, max=10_000, help="Maximum number of records predicted at once.")
    ] = 32,
    check_every: Annotated[float, typer.Option(min=0.1, help="Seconds between checks for another version.")] = 30.0,
    until_end: Annotated[
        bool,
        typer.Option("--until-end", help="Stop at the current end of the topic instead of waiting for more records."),
    ] = False,
    heartbeat_file: Annotated[
        Path | None, typer.Option(help="File to touch twice a second, for a liveness probe.", show_default=False)
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print the counts as one JSON document on standard output.")
    ] = False,
) -> None:
    """Predict the records of a topic with a published model until stopped.

    A prediction is `{"values": [...]}`. It has the record's key and headers, and additional headers for the model, the
    version, the weights and the source. Offsets are committed after the predictions are stored. No record is lost; a
    record can be predicted twice after a crash. Instances of this command in one group share the topic's partitions.

        fedstream infer --model mine@champion --input-topic images --output-topic predictions
    """
    from fedstream.catalog.versions import parse_version
    from fedstream.cli.options import parse_document
    from fedstream.record.format import StreamFormat
    from fedstream.record.offsets import invalid_topic_name

    name, which = parse_version(model)
    for option, topic in (
        ("--input-topic", input_topic),
        ("--output-topic", output_topic),
        ("--error-topic", error_topic),
    ):
        if (topic or option != "--error-topic") and (reason := invalid_topic_name(topic)):
            raise UsageError(f"{option}: {reason}")
    if input_topic in (output_topic, error_topic):
        raise UsageError(
            f"predictions and errors cannot be written to the input topic {input_topic!r}; pass another topic"
        )
    laid_out = StreamFormat(input_format, parse_document("--input-config", input_config)) if input_config else None

    from fedstream.serving.inference import Inference, Pace, Streams
    from fedstream.serving.versions import ServedVersion
    from fedstream.settings import KafkaSettings
    from fedstream.store.objects import ObjectStore

    kafka, store = KafkaSettings.from_env(), ObjectStore.from_env()
    streams = Streams(
        input_topic, output_topic, error_topic, group or f"fedstream-infer.{name}.{input_topic}.{output_topic}"
    )
    pace = Pace(batch_size, until_end, heartbeat_file)
    if heartbeat_file:  # a file that another process left does not show that this one works
        with suppress(OSError):
            heartbeat_file.unlink()
    with _logging(), _stopped_by_signals() as (stop, received):
        with err.status("Loading the model (starting TensorFlow) ..."):
            version = ServedVersion(store, name, which, laid_out, check_every)
        inference = Inference(kafka, streams, version, pace, stop)
        err.print(
            f"predicting {input_topic} to {output_topic} in consumer group {streams.group}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
        counts: dict[str, Any] = {"model": name, "version": version.current().number, **vars(inference.run())}
    if json:
        print_json(counts)
    else:
        done = f"{counts['records']} records, {counts['predictions']} predictions, {counts['rejected']} rejected"
        out.print(f"{done}; version {counts['version']} of {name}", highlight=False, markup=False)
    if signal.SIGINT in received:
        raise typer.Exit(128 + signal.SIGINT)  # the convention of shells


@contextmanager
def _stopped_by_signals() -> Iterator[tuple[threading.Event, list[int]]]:
    """Turn the first SIGTERM or Ctrl-C into an event; the second ends the process at once."""
    stop, received = threading.Event(), list[int]()

    def heed(number: int, frame: object) -> None:
        received.append(number)
        stop.set()
        signal.signal(number, before[signal.Signals(number)])

    before = {number: signal.signal(number, heed) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop, received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _logging() -> Iterator[None]:
    """Write fedstream's log to standard error, with timestamps."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("fedstream")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
