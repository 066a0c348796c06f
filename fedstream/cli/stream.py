"""The command `fedstream stream`, with which data owners send records and list announcements."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fedstream.cli.output import err, out, print_json
from fedstream.cli.stream_list import list_command
from fedstream.cli.stream_show import show_command
from fedstream.errors import BrokerAway, BrokerError, DeadlineError, UsageError

if TYPE_CHECKING:
    from fedstream.settings import KafkaSettings

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]

stream_app = typer.Typer(no_args_is_help=True, help="Send streams, show them, and list or withdraw announcements.")
stream_app.command("list")(list_command)
stream_app.command("show")(show_command)


@stream_app.command()
def send(
    file: Annotated[
        Path,
        typer.Argument(
            help=".npz file with x and y (or x_train, y_train), or .csv file with a header.", show_default=False
        ),
    ],
    topic: Annotated[str, typer.Option(help="Topic of the records.", show_default=False)],
    client: Annotated[str, typer.Option(help="Name of the data owner.", show_default=False)],
    validation_rate: Annotated[
        float,
        typer.Option(help="Fraction held out for validation, at least 0 and less than 1; with 0, the run decides."),
    ] = 0.0,
    test_rate: Annotated[
        float,
        typer.Option(
            help="Fraction held out for testing, at least 0 and less than 1, in addition to the validation rate."
        ),
    ] = 0.0,
    restriction: Annotated[
        str, typer.Option(help="JSON object that a run must request to receive these records.")
    ] = "{}",
    description: Annotated[str, typer.Option(help="Free text that is announced with the stream.")] = "",
    label: Annotated[str, typer.Option(help="Name of the label column in a .csv file.")] = "label",
    shape: Annotated[str, typer.Option(help="Shape of a sample, such as '28 28'.", show_default="the file's")] = "",
    format: Annotated[str, typer.Option(help="Format of the records: RAW, or another of docs/formats.md.")] = "RAW",
    partitions: Annotated[
        int, typer.Option(min=1, max=1000, help="Number of partitions of the topic, if it is new.")
    ] = 1,
    classes: Annotated[
        str,
        typer.Option(
            help="Names of the classes 0, 1, ..., separated by commas, or a .json list.",
            show_default="the text labels, sorted",
        ),
    ] = "",
    append: Annotated[
        bool, typer.Option("--append", help="Add to this client's earlier announcements instead of superseding them.")
    ] = False,
    allow_nan: Annotated[
        bool, typer.Option("--allow-nan", help="Accept NaN and infinity, which are rejected otherwise.")
    ] = False,
    json: Json = False,
) -> None:
    """Send every record of a file to Kafka, then announce the exact offsets.

    The announcement is written only after all records are stored (acks=all). It supersedes the client's earlier
    announcements unless --append is given. It contains the names of a .csv file's columns and classes, which runs match
    by name, regardless of their order.

        fedstream stream send mnist.npz --topic hospital-a --client hospital-a --shape "28 28"
        fedstream stream send december.csv --topic ward7 --client hospital-b --label outcome --append
    """
    from fedstream.cli.options import parse_document, parse_names
    from fedstream.settings import KafkaSettings
    from fedstream.stream.announcement import invalid_client_name
    from fedstream.stream.files import load_records
    from fedstream.stream.send import create_topic, send_dataset

    if reason := invalid_client_name(client):
        raise UsageError(reason)
    kafka = KafkaSettings.from_env()
    restrictions = parse_document("restriction", restriction)
    x, y, features = load_records(file, label, shape, allow_nan)
    earlier: list[str] = []

    def prepare() -> None:
        if not append:
            earlier.extend(_superseded(kafka, client))
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
            format=format,
            validation_rate=validation_rate,
            test_rate=test_rate,
            restrictions=restrictions,
            description=description,
            features=features,
            classes=parse_names("--classes", classes),
            append=append,
            allow_nan=allow_nan,
            checked=prepare,
            progress=lambda n: bar.advance(task, n),
        )
    if json:
        print_json(announcement.model_dump(mode="json") | {"supersedes": earlier})
    else:
        out.print(
            f"sent {len(x)} records and announced {announcement.topic} for client {client}",
            highlight=False,
            markup=False,
        )
        for topic_before in earlier:
            out.print(
                f"this supersedes the earlier announcement of {topic_before}; pass --append to add to it instead",
                highlight=False,
                markup=False,
            )


def _superseded(kafka: KafkaSettings, client: str) -> list[str]:
    """Return the offsets that a client's next announcement supersedes; none if the control topic cannot be read."""
    from fedstream.stream.announced import counting

    try:
        return [said.topic for said in counting(kafka, client)]
    except BrokerAway:
        raise
    except (BrokerError, DeadlineError) as error:
        err.print(
            f"cannot read whether this supersedes earlier announcements of {client}: {error}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
        return []


@stream_app.command()
def withdraw(
    client: Annotated[str, typer.Option(help="Name of the data owner.", show_default=False)],
    topic: Annotated[
        str,
        typer.Option(
            help="Withdraw only the announcements of this topic.", show_default="all announcements that count"
        ),
    ] = "",
    json: Json = False,
) -> None:
    """Withdraw the announcements of a client, so that no later round trains on its records.

    New runs do not take the records, and a run that is on record asks before each round: the client takes no part in
    it any more, and the reason names the withdrawal. The records stay in Kafka; send them again to announce them again.
    Only the client that announced a stream can withdraw it. Where owners have no rights of their own on the brokers,
    anyone can use a client's name, to withdraw as well as to announce; docs/streams.md describes what prevents that.

        fedstream stream withdraw --client hospital-a
    """
    from fedstream.settings import KafkaSettings
    from fedstream.stream.announced import withdraw as withdraw_announced

    topics = withdraw_announced(KafkaSettings.from_env(), client, topic)
    if json:
        print_json({"client": client, "withdrawn": topics})
    else:
        out.print(f"withdrew the announcements of {client} for {', '.join(topics)}", highlight=False, markup=False)
