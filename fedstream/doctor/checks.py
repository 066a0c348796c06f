"""What a doctor's check is, and how a list of them is worked off. Each check is one function; none of them knows another."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from fedstream.errors import FedstreamError, UsageError

State = Literal["ok", "fault", "skipped"]


@dataclass(frozen=True)
class Finding:
    """One line of a doctor's report.

    Attributes:
        check: what was looked at.
        state: whether it works, does not, or could not or need not be looked at.
        text: what was found; for a fault also what to do.
    """

    check: str
    state: State
    text: str

    def as_json(self) -> dict[str, str]:
        return asdict(self)


class SkippedError(Exception):
    """A check that need not be made, or cannot; says why."""


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        name: what is looked at.
        look: returns what was found, or findings of its own; an error of ours is a fault.
        needs: names of the checks without which this one tells nothing.
        parts: what it finds out, where that is more than one thing; it is left out itself if all of them are.
    """

    name: str
    look: Callable[[], str | list[Finding]]
    needs: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()

    def skipped(self, skip: Sequence[str]) -> bool:
        """Tell whether it is to be left out, by its name, the first words of it, or all of its parts."""
        return is_named(self.name, skip) or (bool(self.parts) and all(is_named(part, skip) for part in self.parts))


def is_named(name: str, names: Sequence[str]) -> bool:
    """Tell whether a check is one of those that are named in full or by their first words."""
    return any(name == one or name.startswith(f"{one} ") for one in names)


def refuse_unknown(checks: Sequence[Check], skip: Sequence[str]) -> None:
    """Check that each name to be left out is one of a check.

    Raises:
        UsageError: it is none; lists the first words of those there are.
    """
    names = [name for check in checks for name in (check.name, *check.parts)]
    if unknown := [one for one in skip if not any(is_named(name, [one]) for name in names)]:
        known = ", ".join(dict.fromkeys(name.split()[0] for name in names))
        raise UsageError(f"--skip: there is no check {unknown[0]!r}; those that would be made begin with {known}")


def examine(checks: Sequence[Check], until: float, skip: Sequence[str] = (), tell: Callable[[Finding], None] = lambda _: None) -> list[Finding]:
    """Make the checks in order and return what was found. They run in this thread, so that Ctrl-C lets them clean up.

    Args:
        checks: what to look at.
        until: when time is up, by the monotonic clock; a check that has begun ends by its own deadlines.
        skip: names, or their first words, of checks to leave out.
        tell: told each finding at once.

    Raises:
        UsageError: there is no check of a name in `skip`.
    """
    refuse_unknown(checks, skip)
    findings: list[Finding] = []
    works: dict[str, bool] = {}
    for check in checks:
        found = _examine(check, works, until, skip)
        works[check.name] = all(finding.state == "ok" for finding in found)
        for finding in found:
            tell(finding)
        findings += found
    return findings


def _examine(check: Check, works: dict[str, bool], until: float, skip: Sequence[str]) -> list[Finding]:
    if check.skipped(skip):
        return [Finding(check.name, "skipped", "as asked for")]
    if broken := [name for name in check.needs if not works.get(name)]:
        return [Finding(check.name, "skipped", f"tells nothing before this works: {', '.join(broken)}")]
    if time.monotonic() >= until:
        return [Finding(check.name, "skipped", "time is up; give more with --deadline")]
    try:
        found = check.look()
    except SkippedError as reason:
        return [Finding(check.name, "skipped", str(reason))]
    except FedstreamError as error:
        return [Finding(check.name, "fault", " ".join(str(error).split()))]
    return found if isinstance(found, list) else [Finding(check.name, "ok", found)]
