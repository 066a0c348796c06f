"""docs/form.md, made from the entries of the form."""

import json
from collections.abc import Iterable
from itertools import groupby

from fedstream.record.form import FormField

HEAD = """<!-- Made by `make compile` from fedstream/record/spec.py and fedstream/record/pipeline_options.py. -->

# The form

These are the values that a run can be given: in the form of the Kubeflow UI, which sorts them by name, and as options of
`fedstream run` and `fedstream submit`. The form takes lists and objects as JSON. On the command line names are separated
by commas, and an object is JSON, or the path of a file that holds it.

A value marked with * is operational: it says how a run is carried out, not what it is, and
[may change when the run is submitted again](kubeflow.md#submit-again-with-other-operational-values). In `sites` that
holds for `placement` and `store_secret`. The number of `rounds` may grow.
"""


def form_page(fields: Iterable[FormField]) -> str:
    """Return the page that describes a form, group by group."""
    return HEAD + "".join(
        _section(group, list(entries)) for group, entries in groupby(fields, key=lambda field: field.group)
    )


def _section(group: str, fields: list[FormField]) -> str:
    head = f"\n## {group.capitalize()}\n\n| form | option | default | what it is |\n|---|---|---|---|\n"
    return head + "".join(f"| {' | '.join(_cells(field))} |\n" for field in fields)


def _cells(field: FormField) -> list[str]:
    default = (
        "required" if field.required else "" if field.default in ("", [], {}) else f"`{json.dumps(field.default)}`"
    )
    choices = f" One of {', '.join(f'`{choice}`' for choice in field.choices)}." if field.choices else ""
    return [
        f"`{field.name}`{'*' if field.operational else ''}",
        f"`{field.flag}`",
        default,
        field.description.replace("|", "\\|") + choices,
    ]
