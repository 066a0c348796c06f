"""The command `fedstream stream list`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedstream.cli.output import err, print_json, print_table
from fedstream.errors import AnnouncementError, FedstreamError

if TYPE_CHECKING:
    from fedstream.record.description import ModelDescription
    from fedstream.stream.announced import Announced
    from fedstream.stream.announcement import DataAnnouncement


def list_command(
    model: Annotated[
        str, typer.Option(help="Also say which announcements fit this model, and why not.", show_default=False)
    ] = "",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")] = False,
) -> None:
    """List the announcements on the control topic, their state, and how many of their records are still there.

    An announcement counts, is superseded or withdrawn, or is invalid for the reason given. With --model, only what
    counts is compared with the model: its shape, its labels, and the names of columns and classes. What a run asks for
    beyond that, such as restrictions and a number of records, its plan compares.

        fedstream stream list --model builtin:digits-mlp
    """
    from fedstream.settings import KafkaSettings
    from fedstream.stream.announced import read_announced
    from fedstream.stream.announcement import DATA_CONTROL_TOPIC
    from fedstream.stream.sampling import kept_records

    kafka = KafkaSettings.from_env()
    found = read_announced(kafka)
    kept, described = kept_records(kafka, found), _described(model) if model else None
    entries = [_entry(one) | {"kept": kept.get(number)} for number, one in enumerate(found)]
    if described:
        for entry, one in zip(entries, found, strict=True):
            entry["misfit"] = _misfit(described, one.said) if one.said and one.fate.state == "counts" else None
    if json:
        print_json(entries)
        return
    names = ["client", "stream", "records", "kept", "shape", "columns", "state", "reason"]
    cells = [{**entry, "kept": "" if entry["kept"] is None else entry["kept"]} for entry in entries]
    if described:
        names.append(f"fits {model}")
        for cell in cells:
            misfit = cell.pop("misfit")
            cell[names[-1]] = "" if misfit is None else misfit or "yes"
    table = [[f"{cell['partition']}:{cell['offset']}", *(cell[name] for name in names)] for cell in cells]
    print_table(f"announcements on {DATA_CONTROL_TOPIC}", ["at", *names], table)


def _described(model: str) -> ModelDescription:
    from fedstream.catalog.models import ensure_model
    from fedstream.store.objects import ObjectStore

    with err.status("Reading the model ..."):
        return ensure_model(ObjectStore.from_env(), model)


def _misfit(model: ModelDescription, said: DataAnnouncement) -> str:
    """Return why records do not fit a model, or an empty string."""
    from fedstream.steps.admission import misfit

    try:
        return misfit(model, said)
    except FedstreamError as error:
        return str(error)


def _samples(said: DataAnnouncement) -> dict[str, str]:
    """Return shape and type of an announcement's samples; empty where its format cannot be read."""
    from fedstream.stream.codec import get_codec

    try:
        codec = get_codec(said.format)
    except AnnouncementError:
        return {"shape": "", "type": ""}
    return {"shape": " ".join(map(str, codec.data_shape)), "type": codec.data_dtype.name}


def _entry(one: Announced) -> dict[str, Any]:
    from fedstream.record.offsets import total_records

    said, entry = (
        one.said,
        dict[str, Any](
            partition=one.partition, offset=one.offset, client="", stream="", records=0, shape="", columns=0
        ),
    )
    if said:
        entry |= {
            "client": said.client,
            "stream": said.topic,
            "records": total_records(said.ranges),
            "columns": len(said.features),
        }
        entry |= _samples(said)
        entry |= {
            "format": said.input_format,
            "classes": said.classes,
            "restrictions": said.restrictions,
            "held_out": said.held_out_rate() or 0.0,
        }
        entry |= {"description": said.description, "append": said.append}
        entry |= {"unsupervised": said.unsupervised_topic, "incremental": said.incremental}
    return entry | {"state": one.fate.state, "reason": one.fate.reason}
