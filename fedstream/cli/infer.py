"""`fedstream infer`: the words of streaming inference."""

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
            help="Model, and version; an alias is followed as it moves; without a version the newest, now and later.",
            show_default=False,
        ),
    ],
    input_topic: Annotated[str, typer.Option(help="Topic of the records.", show_default=False)],
    output_topic: Annotated[str, typer.Option(help="Topic of the predictions.", show_default=False)],
    error_topic: Annotated[str, typer.Option(help="Topic for records that cannot be predicted.", show_default="they are counted and logged")] = "",
    group: Annotated[str, typer.Option(help="Consumer group; its members share the partitions.", show_default="of the model and the topics")] = "",
    input_config: Annotated[
        str,
        typer.Option(
            help="""Format of the records, as '{"data_type": "float32", "data_reshape": "28 28"}' or a file of it.""", show_default="as trained on"
        ),
    ] = "",
    input_format: Annotated[str, typer.Option(help="Format that --input-config configures, such as RAW or JSON.")] = "RAW",
    batch_size: Annotated[int, typer.Option(min=1, max=10_000, help="Records predicted at once, at most.")] = 32,
    check_every: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks for another version.")] = 30.0,
    until_end: Annotated[bool, typer.Option("--until-end", help="Stop where the topic ends now, instead of waiting for more.")] = False,
    heartbeat_file: Annotated[Path | None, typer.Option(help="File to touch twice a second, for a liveness probe.", show_default=False)] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the counts as one JSON document on standard output.")] = False,
) -> None:
    """Predict the records of a topic with a published model, until stopped.

    Predictions are `{"values": [...]}`, with the record's key and headers, and headers that name model, version, weights and source.
    Offsets are committed when the predictions are stored: no record is left out, one may be predicted twice after a crash.
    Started several times, the members share the topic's partitions.

        fedstream infer --model mine@champion --input-topic images --output-topic predictions
    """
    from fedstream.catalog.versions import parse_version
    from fedstream.cli.options import parse_document
    from fedstream.record.format import StreamFormat
    from fedstream.record.offsets import invalid_topic_name

    name, which = parse_version(model)
    for option, topic in (("--input-topic", input_topic), ("--output-topic", output_topic), ("--error-topic", error_topic)):
        if (topic or option != "--error-topic") and (reason := invalid_topic_name(topic)):
            raise UsageError(f"{option}: {reason}")
    if input_topic in (output_topic, error_topic):
        raise UsageError(f"the predictions may not go to the topic {input_topic!r} that they are made from; name another")
    laid_out = StreamFormat(input_format, parse_document("--input-config", input_config)) if input_config else None

    from fedstream.serving.inference import Inference, Pace, Streams
    from fedstream.serving.versions import ServedVersion
    from fedstream.settings import KafkaSettings
    from fedstream.store.objects import ObjectStore

    kafka, store = KafkaSettings.from_env(), ObjectStore.from_env()
    streams = Streams(input_topic, output_topic, error_topic, group or f"fedstream-infer.{name}.{input_topic}.{output_topic}")
    pace = Pace(batch_size, until_end, heartbeat_file)
    if heartbeat_file:  # one that another process left says nothing of this one
        with suppress(OSError):
            heartbeat_file.unlink()
    with _logging(), _stopped_by_signals() as (stop, received):
        with err.status("Loading the model (TensorFlow starts) ..."):
            version = ServedVersion(store, name, which, laid_out, check_every)
        inference = Inference(kafka, streams, version, pace, stop)
        err.print(f"predicting {input_topic} to {output_topic} as {streams.group}", highlight=False, markup=False, soft_wrap=True)
        counts: dict[str, Any] = {"model": name, "version": version.current().number, **vars(inference.run())}
    if json:
        print_json(counts)
    else:
        done = f"{counts['records']} records, {counts['predictions']} predictions, {counts['rejected']} rejected"
        out.print(f"{done}; version {counts['version']} of {name}", highlight=False, markup=False)
    if signal.SIGINT in received:
        raise typer.Exit(128 + signal.SIGINT)  # as shells have it


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
    """Show fedstream's log on standard error, with times."""
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
