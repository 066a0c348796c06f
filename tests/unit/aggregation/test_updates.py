"""Updates: sorted, sized, repeatable, and readable block by block."""

import numpy as np
import pytest

from fedstream.aggregation.updates import Update, Updates
from fedstream.errors import UpdateError


def update(client, *values, examples=1):
    return Update(client, examples, {"w": np.array(values, np.float32).reshape(-1, 1), "n": np.array([3])})


def test_they_are_sorted_by_client_and_can_be_read_again():
    updates = Updates(update(client, 0) for client in ("b", "c", "a"))
    assert [one.client for one in updates] == [one.client for one in updates] == ["a", "b", "c"]
    assert len(updates) == 3
    assert updates[0].client == "a"


def test_the_population_is_at_least_the_number_of_updates():
    assert Updates([update("a", 1), update("b", 1)]).population == 2
    assert Updates([update("a", 1), update("b", 1)], 5).population == 5


def test_blocks_cover_each_floating_element_of_all_clients_once():
    updates = Updates([update("b", 10, 11, 12, 13, 14), update("a", 0, 1, 2, 3, 4)])
    blocks = list(updates.blocks(2))
    assert [(block.name, block.part, [values.tolist() for values in block.values]) for block in blocks] == [
        ("w", slice(0, 2), [[0, 1], [10, 11]]),
        ("w", slice(2, 4), [[2, 3], [12, 13]]),
        ("w", slice(4, 5), [[4], [14]]),
    ]
    assert all(np.shares_memory(block.values[0], updates[0].weights["w"]) for block in blocks), "views, not copies"


@pytest.mark.parametrize(
    ("clients", "said"), [([], "there is no update to aggregate"), (["a", "b", "a"], "client 'a' has two updates")]
)
def test_updates_that_cannot_be(clients, said):
    with pytest.raises(UpdateError, match=said):
        Updates(update(client, 1) for client in clients)
