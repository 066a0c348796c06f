"""`verify --stream` reads every record of a slice again, those that are held out as well."""

from __future__ import annotations

import numpy as np
import pytest
from support.federation import federation, run

from fedstream.audit import verify_run
from fedstream.model.split import split_mask


@pytest.fixture(scope="module")
def finished():
    context = federation()
    return context, run(context)


@pytest.mark.parametrize("held_out", [False, True])
@pytest.mark.parametrize("part", ["key", "value"])
def test_a_record_that_was_replaced_since_then_is_found(finished, held_out, part):
    context, state = finished
    honest = verify_run(context.store, "r", brokers=context.brokers)
    slices = [client.records for client in state.record.clients]
    assert (honest.problems, honest.records_checked) == ([], sum(slices))
    mask = split_mask(state.record.spec.seed, np.zeros(80, int), np.arange(80), 0.2)
    records = context.brokers.at("")._topics["north"].records
    offset = int(np.flatnonzero(mask == held_out)[0])
    key, value = before = records[offset]
    records[offset] = (key, bytes([value[0] ^ 1]) + value[1:]) if part == "value" else (bytes([key[0] ^ 1]), value)
    try:
        problems = verify_run(context.store, "r", brokers=context.brokers).problems
    finally:
        records[offset] = before
    assert {problem.key for problem in problems} == {state.keys.at(round).slice("north") for round in (1, 2, 3, 4)}
    assert all("the records of north:0:0:80 have digest" in problem.what for problem in problems)
