"""The form as parameters of a function. Run as a module it writes the component that takes the form; with --check it only tells whether it is stale.

Kfp ships the source of a component's function, so a signature that is made at run time would be lost.
"""

import inspect
import json
import re
import sys
from pathlib import Path
from typing import Any, Dict, List

from fedstream.record.form import FormField, Kind, form_of
from fedstream.record.pipeline_options import PipelineOptions
from fedstream.record.spec import RunSpec

TYPES: dict[Kind, Any] = {"flag": bool, "integer": int, "number": float, "document": Dict[str, Any], "names": List[str]}
"""Annotations of parameters; of those that are not here, `str`."""

BEGIN, END = "    # made by `make compile`\n", "    # end of what is made\n"
"""What the parameters stand between. In the docstring they stand after the last parameter that is the component's own."""

COMPONENT = Path(__file__).parent / "plan_training" / "component.py"
FORM = [field for field in form_of(RunSpec, PipelineOptions) if field.name in (*RunSpec.model_fields, "node_budget")]


def parameters(fields: list[FormField]) -> list[inspect.Parameter]:
    """Return the parameters of a function that takes a form; those without a default come first."""
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
    """Return what a docstring says of the parameters."""
    return "".join(f"{indent}{field.name}: {field.description}\n" for field in fields)


def with_form(source: str, fields: list[FormField]) -> str:
    """Return the source of a component with the parameters of a form."""
    declared = "".join(f"    {_declared(parameter)},\n" for parameter in parameters(fields))
    source = re.sub(rf"(?s)(?<={re.escape(BEGIN)}).*(?={re.escape(END)})", lambda _: declared, source)
    return re.sub(
        r'(?sm)(^        matched: .*?\n).*?(?=^    """$)',
        lambda found: found[1] + described(fields, "        "),
        source,
    )


def _declared(parameter: inspect.Parameter) -> str:
    declared = f"{parameter.name}: {inspect.formatannotation(parameter.annotation)}"
    return declared if parameter.default is inspect.Parameter.empty else f"{declared} = {_literal(parameter.default)}"


def _literal(value: Any) -> str:
    """Return a JSON value as the formatter of Python has it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_literal(key)}: {_literal(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_literal, value)) + "]"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def main(arguments: list[str]) -> int:
    """Write the component, or check it."""
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
