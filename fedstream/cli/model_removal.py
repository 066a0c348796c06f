"""The command `fedstream model remove`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from fedstream.cli.output import err, out, print_json
from fedstream.errors import UsageError

SHOWN = 5
"""Number of runs and aliases that are listed as needing a model."""


def remove_command(
    model: Annotated[
        str,
        typer.Argument(
            metavar="NAME[@N]", help="Model, with all its files and versions, or one version.", show_default=False
        ),
    ],
    force: Annotated[
        bool,
        typer.Option("--force", help="Remove it even if runs or aliases need it; such runs can no longer be verified."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")] = False,
) -> None:
    """Remove a model, or one of its versions, permanently.

    A model that a recorded run starts from and a version that has an alias are removed only with --force. The number of
    a removed version is not used again.

        fedstream model remove mine@2
    """
    from fedstream.catalog.removal import plan_removal, remove
    from fedstream.catalog.versions import parse_version
    from fedstream.store.objects import ObjectStore

    name, which = parse_version(model)
    if isinstance(which, str):
        raise UsageError(
            f"{model!r} contains an alias; pass the number of the version, or remove the alias with `fedstream "
            f"model demote {model}`"
        )
    store = ObjectStore.from_env()
    removal = plan_removal(store, name, which)
    if removal.needed_by and not force:
        more = f" and {len(removal.needed_by) - SHOWN} more" if len(removal.needed_by) > SHOWN else ""
        needs = "needs it" if len(removal.needed_by) == 1 else "need it"
        raise UsageError(
            f"cannot remove {removal.what}: {', '.join(removal.needed_by[:SHOWN])}{more} {needs}; "
            "pass --force to remove it anyway"
        )
    if not yes and not _agreed(removal.what, len(removal.keys)):
        err.print("nothing was removed")
        raise typer.Exit(1)
    remove(store, removal)
    if json:
        print_json({"model": name, "version": which, "removed": removal.keys, "needed_by": removal.needed_by})
    else:
        out.print(f"removed {removal.what}: {len(removal.keys)} objects", highlight=False, markup=False, soft_wrap=True)


def _agreed(what: str, objects: int) -> bool:
    if not sys.stdin.isatty():
        raise UsageError(
            f"this permanently removes {what} ({objects} objects); pass --yes to confirm it without a terminal"
        )
    try:
        return typer.confirm(f"Permanently remove {what} ({objects} objects)?", err=True)
    except typer.Abort:
        return False
