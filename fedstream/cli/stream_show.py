"""The command `fedstream stream show`."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from fedstream.cli.output import out, print_json, write_file
from fedstream.errors import UsageError

if TYPE_CHECKING:
    from fedstream.stream.sampling import Sample

READ = 10_000
"""Maximum number of records that are read, so that a terminal answers within seconds."""

VALUES = 8
"""Number of values of a sample that are printed; --json contains all of them."""

CLASSES = 50
"""Maximum number of distinct labels that are counted one by one; with more, they are measurements."""

BAR = 40
"""Length of the longest bar of the histogram, in characters."""


def show_command(
    client: Annotated[str, typer.Option(help="Name of the data owner.", show_default=False)],
    topic: Annotated[
        str, typer.Option(help="Only what the client announced of this topic.", show_default="all that counts")
    ] = "",
    records: Annotated[int, typer.Option(min=0, max=100, help="Number of records to show.")] = 5,
    html: Annotated[
        Path | None,
        typer.Option(help="Also write the page, with its pictures, to this file.", show_default=False),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")] = False,
) -> None:
    """Show what a stream contains: decoded samples, how often each class occurs, and pictures of images.

    The records are read and decoded as runs do it, so a record that is not as announced is named. This prints records:
    use it where they may be seen.

        fedstream stream show --client hospital-a --records 3
    """
    from fedstream.settings import KafkaSettings
    from fedstream.stream.announcement import invalid_client_name
    from fedstream.stream.sampling import read_sample

    if reason := invalid_client_name(client):
        raise UsageError(reason)
    sample = read_sample(KafkaSettings.from_env(), client, topic, READ)
    if json:
        print_json(_document(sample, records))
    else:
        out.print(*_page(sample, records, out.color_system is not None), sep="\n")
    if html:
        console = Console(record=True, file=io.StringIO(), color_system="truecolor", width=120)
        console.print(*_page(sample, records, colours=True), sep="\n")
        write_file(html, console.export_html().encode())


def _document(sample: Sample, shown: int) -> dict[str, Any]:
    from fedstream.record.offsets import format_ranges, total_records

    labels = _counts(sample)
    return {
        "client": sample.said.client,
        "stream": format_ranges(sample.ranges),
        "format": sample.said.input_format,
        "shape": list(sample.x.shape[1:]),
        "type": sample.x.dtype.name,
        "records": total_records(sample.ranges),
        "kept": sample.kept,
        "read": len(sample.y),
        "labels": labels,
        "samples": [
            {"at": sample.records.where(number), "label": _plain(sample.y[number]), "data": _plain(sample.x[number])}
            for number in range(min(shown, len(sample.y)))
        ],
    }


def _page(sample: Sample, shown: int, colours: bool) -> Iterator[RenderableType]:
    from fedstream.cli.pictures import is_picture, picture

    about, shown = _document(sample, 0), min(shown, len(sample.y))
    shape = " ".join(map(str, about["shape"])) or "1"
    yield Text(f"client {about['client']}: {about['format']} records, {about['type']} of shape {shape}")
    yield Text(
        f"{about['records']:,} records announced, {about['kept']:,} of them still there; "
        f"the first {about['read']:,} were read"
    )
    yield _histogram(sample)
    yield _table(sample, shown)
    if is_picture(sample.x.shape[1:]):
        drawn = [picture(one, colours) for one in sample.x[:shown]]
        labels = [Text(f"label {_name(sample, label)}") for label in sample.y[:shown]]
        yield Columns([Group(*both) for both in zip(labels, drawn, strict=True)], padding=(1, 2))


def _counts(sample: Sample) -> dict[str, int]:
    """Return how often each label occurs, by its name; empty if the labels are measurements."""
    import numpy as np

    values, counts = np.unique(sample.y, return_counts=True)
    if len(values) > CLASSES:
        return {}
    return {_name(sample, value): int(count) for value, count in zip(values, counts, strict=True)}


def _name(sample: Sample, label: Any) -> str:
    """Return the name of a class, if it has one."""
    classes, text = sample.said.classes, str(_plain(label))
    return classes[int(text)] if text.isdecimal() and int(text) < len(classes) else text


def _histogram(sample: Sample) -> RenderableType:
    counts = _counts(sample)
    if not counts:
        return Text(f"labels from {min(sample.y.flat)} to {max(sample.y.flat)}" if len(sample.y) else "no labels")
    table = Table("label", "records", "", title=Text("classes"), title_justify="left")
    for name, count in counts.items():
        table.add_row(Text(name), f"{count:,}", "█" * max(1, BAR * count // max(counts.values())))
    return table


def _table(sample: Sample, shown: int) -> Table:
    table = Table("at", "label", "values", title=Text("samples"), title_justify="left")
    for number in range(shown):
        values = _values(sample.x[number], sample.said.features)
        table.add_row(sample.records.where(number), Text(_name(sample, sample.y[number])), Text(values))
    return table


def _plain(value: Any) -> Any:
    """Return a sample or a label as JSON has it; of several inputs, each by its name."""
    import numpy as np

    array = np.asarray(value)
    return {name: array[name].tolist() for name in array.dtype.names} if array.dtype.names else array.tolist()


def _values(sample: Any, names: Sequence[str]) -> str:
    """Return the first values of a sample, with the names of its columns or of its inputs."""
    import numpy as np

    array = np.asarray(sample)
    if array.dtype.names:
        return "; ".join(f"{name}: {_values(array[name], ())}" for name in array.dtype.names)
    values = [str(value) for value in array.ravel()[:VALUES].tolist()]
    if names:
        values = [f"{name}={value}" for name, value in zip(names, values, strict=False)]
    return " ".join(values) + (" ..." if array.size > VALUES else "")
