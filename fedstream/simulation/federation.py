"""The virtual clients of a simulation: their names, and which records each of them has. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass

from fedstream.errors import UsageError
from fedstream.local.partition import FORMS, Indices, by_value, deal, parse_partition
from fedstream.simulation.attacks import Attack, parse_attack
from fedstream.simulation.source import Source
from fedstream.stream.announcement import invalid_client_name

EVALUATION = "evaluation"
"""Topic of the test records."""

COLUMN = "column:"
"""Beginning of a partition by the values of a column."""


@dataclass(frozen=True)
class Setting:
    """How the records of a simulation are divided, and who attacks.

    Attributes:
        clients: Number of clients; with a partition by column, the number of its values counts instead.
        partition: `iid`, `shards[:PER_CLIENT]`, `dirichlet[:ALPHA]` or `column:NAME`.
        attack: What the attackers do, such as `signflip` or `scaled:20`; empty for nothing.
        attackers: Number of clients that attack: the last ones by name.
    """

    clients: int = 10
    partition: str = "iid"
    attack: str = ""
    attackers: int = 0


@dataclass(frozen=True)
class Federation:
    """The virtual clients.

    Attributes:
        owners: name -> indices of the client's records, at least one; sorted by name.
        attack: What the attackers do; None for nothing.
        attackers: Names of the attackers, which are marked with the attack, so that the ledger shows it.
    """

    owners: dict[str, Indices]
    attack: Attack | None
    attackers: frozenset[str]


def form_federation(source: Source, setting: Setting, seed: int) -> Federation:
    """Divide the records among clients. The result depends only on the arguments.

    A client without records, as a Dirichlet draw can leave one, does not exist.

    Raises:
        UsageError: The setting does not fit the records.
    """
    if bool(setting.attack) != bool(setting.attackers):
        raise UsageError(
            f"attack is {setting.attack!r} and attackers is {setting.attackers}; give both, or neither of them"
        )
    dealt = _dealt(source, setting, seed)
    names = sorted(name for name, own in dealt.items() if len(own))
    if setting.attackers > len(names):
        raise UsageError(f"attackers is {setting.attackers}, but there are only {len(names)} clients")
    attack = parse_attack(setting.attack, source.y) if setting.attack else None
    hostile = names[len(names) - setting.attackers :]
    called = {name: f"{name}-{attack.label}" if attack and name in hostile else name for name in names}
    for name in called.values():
        if reason := invalid_client_name(name):
            raise UsageError(reason)
    if source.test and EVALUATION in called.values():
        raise UsageError(f"a client cannot be called {EVALUATION!r}, which is the topic of the test records; rename it")
    owners = {called[name]: dealt[name] for name in names}
    return Federation(dict(sorted(owners.items())), attack, frozenset(called[name] for name in hostile))


def _dealt(source: Source, setting: Setting, seed: int) -> dict[str, Indices]:
    if setting.partition.startswith(COLUMN):
        name = setting.partition.removeprefix(COLUMN)
        if name not in source.columns:
            there = f"there are {', '.join(sorted(source.columns))}" if source.columns else "there are none"
            raise UsageError(f"partition {setting.partition!r}: there is no column {name!r} of the records; {there}")
        return by_value(source.columns[name])
    try:
        partition = parse_partition(setting.partition)
    except UsageError as error:
        raise UsageError(str(error).replace(FORMS, f"{FORMS}, or {COLUMN}NAME")) from error
    parts = deal(source.y if source.y.ndim == 1 else source.y[:, 0], setting.clients, partition, seed)
    width = len(str(setting.clients))
    return {f"client-{number:0{width}}": own for number, own in enumerate(parts, 1)}
