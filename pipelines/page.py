"""docs/form.md, generated from the entries of the form."""

import json
from collections.abc import Iterable
from itertools import groupby

from fedstream.record.form import FormField

HEAD = """<!-- Made by `make compile` from fedstream/record/spec.py and fedstream/record/pipeline_options.py. -->

# The form

You can set these values of a run in the form of the Kubeflow UI, which sorts them by name, or as options of
`fedstream run` and `fedstream submit`. The form takes lists and objects as JSON. On the command line, separate names by
commas, and give an object as JSON or as the path of a file that contains it.

Values that are rarely used are keys of one object in the form, such as `min_data` in `data_options`. The object's
default shows its keys. Keys that are left out keep their defaults, and an unknown key is refused.

A value marked with * is operational: it determines how a run is carried out, not what it is, and
[can change when the run is submitted again](kubeflow.md#submit-again-with-other-operational-values). In `sites`, this
applies to `placement` and `store_secret`. The number of `rounds` can grow.
"""


def form_page(fields: Iterable[FormField]) -> str:
    """Return the page that describes a form, group by group."""
    return HEAD + "".join(
        _section(group, list(entries)) for group, entries in groupby(fields, key=lambda field: field.group)
    )


def _section(group: str, fields: list[FormField]) -> str:
    head = f"\n## {group.capitalize()}\n\n| form | option | default | description |\n|---|---|---|---|\n"
    return head + "".join(f"| {' | '.join(_cells(field))} |\n" for field in fields)


def _cells(field: FormField) -> list[str]:
    default = (
        "required" if field.required else "" if field.default in ("", [], {}) else f"`{json.dumps(field.default)}`"
    )
    choices = f" One of {', '.join(f'`{choice}`' for choice in field.choices)}." if field.choices else ""
    return [
        f"`{field.name}`{'*' if field.operational else ''}{f' in `{field.within}`' if field.within else ''}",
        f"`{field.flag}`",
        default,
        field.description.replace("|", "\\|") + choices,
    ]
