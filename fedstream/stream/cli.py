"""`fedstream stream`: a data owner sends records and sees what was announced."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fedstream.errors import AnnouncementError, UsageError
from fedstream.output import err, out, print_json, print_table

stream_app = typer.Typer(no_args_is_help=True, help="Send streams, and see what is announced.")

LIST_S = 30.0
"""Seconds to read the control topic."""


@stream_app.command()
def send(
    file: Annotated[Path, typer.Argument(help=".npz file with x and y (or x_train, y_train), or .csv file with a header.", show_default=False)],
    topic: Annotated[str, typer.Option(help="Topic of the records.", show_default=False)],
    client: Annotated[str, typer.Option(help="Name of the data owner.", show_default=False)],
    validation_rate: Annotated[float, typer.Option(help="Part held out for validation, 0 or more and below 1; 0 leaves it to the run.")] = 0.0,
    test_rate: Annotated[float, typer.Option(help="Part held out for testing, 0 or more and below 1; adds to the validation rate.")] = 0.0,
    restriction: Annotated[str, typer.Option(help="JSON object that a run must ask for to be given these records.")] = "{}",
    description: Annotated[str, typer.Option(help="Free text, announced with the stream.")] = "",
    label: Annotated[str, typer.Option(help="Column of the labels in a .csv file.")] = "label",
    shape: Annotated[str, typer.Option(help="Shape of a sample, as '28 28'.", show_default="the file's")] = "",
    partitions: Annotated[int, typer.Option(min=1, max=1000, help="Partitions of the topic, if it is new.")] = 1,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")] = False,
) -> None:
    """Send every record of a file to Kafka, then announce the exact offsets.

    The announcement is written only when all records are stored (acks=all).

        fedstream stream send mnist.npz --topic hospital-a --client hospital-a --shape "28 28"
    """
    from fedstream.options import parse_document
    from fedstream.settings import KafkaSettings
    from fedstream.stream.announcement import invalid_client_name
    from fedstream.stream.files import load_records
    from fedstream.stream.send import create_topic, send_dataset

    if reason := invalid_client_name(client):
        raise UsageError(reason)
    kafka = KafkaSettings.from_env()
    restrictions = parse_document("restriction", restriction)
    x, y = load_records(file, label, shape)
    if partitions > 1:
        create_topic(kafka, topic, partitions)
    columns = TextColumn("sending to {task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task(topic, total=len(x))
        announcement = send_dataset(
            kafka,
            topic,
            client,
            x,
            y,
            validation_rate=validation_rate,
            test_rate=test_rate,
            restrictions=restrictions,
            description=description,
            progress=lambda n: bar.advance(task, n),
        )
    if json:
        print_json(announcement.model_dump(mode="json"))
    else:
        out.print(f"sent {len(x)} records and announced {announcement.topic} for client {client}", highlight=False, markup=False)


@stream_app.command("list")
def list_(json: Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")] = False) -> None:
    """List the announcements on the control topic, and what is wrong with those that are."""
    from fedstream.settings import KafkaSettings
    from fedstream.stream.announcement import DATA_CONTROL_TOPIC, invalid_client_name, parse_data_announcement
    from fedstream.stream.reader import read_announcements

    rows: list[tuple[int, int, str, str, str, str]] = []
    for partition, offset, data in read_announcements(KafkaSettings.from_env(), DATA_CONTROL_TOPIC, LIST_S):
        try:
            said = parse_data_announcement(data)
            rows.append((partition, offset, said.client, said.topic, said.input_format, invalid_client_name(said.client)))
        except AnnouncementError as error:
            rows.append((partition, offset, "", "", "", str(error)))
    columns = ("partition", "offset", "client", "stream", "format", "problem")
    if json:
        print_json([dict(zip(columns, row, strict=True)) for row in rows])
    else:
        print_table(f"announcements on {DATA_CONTROL_TOPIC}", columns, rows)
