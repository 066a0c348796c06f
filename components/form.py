"""The form as parameters of a function.

Run as a module, this file writes the component that takes the form. With --check, it only reports whether that
component is stale. KFP ships the source of a component's function, so it would lose a signature made at run time.
"""

import inspect
import json
import re
import sys
import textwrap
from pathlib import Path
from typing import Any, Dict, List

from fedstream.record.form import FormField, Kind, packed_form
from fedstream.record.pipeline_options import PipelineOptions
from fedstream.record.spec import RunSpec

TYPES: dict[Kind, Any] = {"flag": bool, "integer": int, "number": float, "document": Dict[str, Any], "names": List[str]}
"""Annotation of a parameter of each kind; kinds that are not listed have `str`."""

BEGIN, END = "    # made by `make compile`\n", "    # end of what is made\n"
"""Lines that enclose the parameters. The docstring lists them after the last parameter of the component's own."""

WIDTH = 120
"""Characters in a line of the component, as the formatter has it."""

COMPONENT = Path(__file__).parent / "plan_training" / "component.py"
FORM = packed_form(RunSpec) + [field for field in packed_form(PipelineOptions) if field.name == "node_budget"]


def parameters(fields: list[FormField]) -> list[inspect.Parameter]:
    """Return the parameters of a function that takes a form; parameters without a default come first."""
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=inspect.Parameter.empty if field.required else field.default,
            annotation=TYPES.get(field.kind, str),
        )
        for field in sorted(fields, key=lambda field: not field.required)
    ]


def described(fields: list[FormField], indent: str = "    ") -> str:
    """Return the lines of a docstring that describe the parameters."""
    return "".join(f"{indent}{field.name}: {field.description}\n" for field in fields)


def with_form(source: str, fields: list[FormField]) -> str:
    """Return the source of a component, with the parameters of a form written into it."""
    declared = "".join(f"    {_declared(parameter)},\n" for parameter in parameters(fields))
    source = re.sub(rf"(?s)(?<={re.escape(BEGIN)}).*(?={re.escape(END)})", lambda _: declared, source)
    return re.sub(
        r'(?sm)(^        matched: .*?\n).*?(?=^    """$)',
        lambda found: found[1] + "".join(map(_wrapped, described(fields, "        ").splitlines())),
        source,
    )


def _wrapped(line: str) -> str:
    """Return a line of the docstring, continued on further lines if it is too long."""
    lines = textwrap.wrap(
        line.strip(),
        WIDTH,
        initial_indent=" " * 8,
        subsequent_indent=" " * 12,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "".join(f"{part}\n" for part in lines)


def _declared(parameter: inspect.Parameter) -> str:
    declared = f"{parameter.name}: {inspect.formatannotation(parameter.annotation)}"
    if parameter.default is inspect.Parameter.empty:
        return declared
    whole = f"{declared} = {_literal(parameter.default)}"
    if isinstance(parameter.default, dict) and len(f"    {whole},") > WIDTH:
        items = "".join(f"        {_literal(key)}: {_literal(item)},\n" for key, item in parameter.default.items())
        return f"{declared} = {{\n{items}    }}"
    return whole


def _literal(value: Any) -> str:
    """Return a JSON value as Python source, in the style of the formatter."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_literal(key)}: {_literal(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_literal, value)) + "]"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def main(arguments: list[str]) -> int:
    """Write the component, or check whether it is current."""
    before = COMPONENT.read_text(encoding="utf-8")
    if (after := with_form(before, FORM)) == before:
        return 0
    if arguments == ["--check"]:
        print("components/plan_training/component.py is stale; run `make compile`", file=sys.stderr)
        return 1
    COMPONENT.write_text(after, encoding="utf-8")
    print("wrote components/plan_training/component.py")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
