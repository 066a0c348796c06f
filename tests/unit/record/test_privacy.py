"""Privacy: which values make sense together."""

import pytest

from fedstream.errors import SpecError
from fedstream.record.spec import changed_field, parse_spec

SPEC = {"run": "a", "model": "m"}


def test_it_is_off_unless_it_is_asked_for() -> None:
    assert not parse_spec(SPEC).privacy.where
    assert changed_field(parse_spec(SPEC), parse_spec(SPEC | {"privacy": {}})) == ""


@pytest.mark.parametrize(
    ("privacy", "said"),
    [
        ({"where": "central", "max_epsilon": 8}, "noise_multiplier is 0; noise needs at least 0.01"),
        (
            {"where": "local", "noise_multiplier": 1, "delta": 0.1},
            "max_epsilon is 0; set the epsilon that the run may spend",
        ),
        ({"noise_multiplier": 1, "max_epsilon": 8}, "`where` is neither central nor local"),
        ({"where": "central", "noise_multiplier": 1, "max_epsilon": 8}, "delta is 0; set it well below 1 / number"),
        ({"where": "central", "noise_multiplier": 1, "max_epsilon": 8, "delta": 1}, "privacy.delta: Input should be"),
        ({"where": "both"}, "privacy.where: Input should be '', 'central' or 'local'"),
        ({"where": "central", "noise_multiplier": float("inf")}, "privacy.noise_multiplier: Input should be"),
        ({"epsilon": 8}, "privacy.epsilon: Extra inputs are not permitted"),
    ],
)
def test_what_makes_no_sense_is_refused(privacy: dict[str, object], said: str) -> None:
    with pytest.raises(SpecError, match="privacy") as refused:
        parse_spec(SPEC | {"privacy": privacy})
    assert said in str(refused.value)


def test_it_cannot_change_during_a_run() -> None:
    one, other = (
        parse_spec(SPEC | {"privacy": {"where": "central", "noise_multiplier": z, "delta": 1e-5, "max_epsilon": 8}})
        for z in (1, 2)
    )
    assert changed_field(one, other).startswith("privacy was {")
