"""What a process remembers of its store, and what it never does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fedstream.errors import CorruptObject, ObjectNotFound
from fedstream.store import remembered
from fedstream.store.kept import Kept
from fedstream.store.memory import MemoryStore
from fedstream.store.remembered import Remembered


class Counted(MemoryStore):
    """A store that counts requests."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def get_with_etag(self, key: str, limit: int | None = None) -> tuple[bytes, str]:
        self.asked.append(f"get {key}")
        return super().get_with_etag(key, limit)

    def exists(self, key: str) -> bool:
        self.asked.append(f"exists {key}")
        return super().exists(key)

    def read(self, key: str, take: Callable[[Iterator[bytes]], Any]) -> Any:
        self.asked.append(f"read {key}")
        return super().read(key, take)


@pytest.fixture
def below() -> Counted:
    return Counted()


@pytest.fixture
def store(below: Counted) -> Remembered:
    return Remembered(below)


def test_what_was_written_is_not_asked_for(store: Remembered, below: Counted) -> None:
    store.put_new("runs/r/a", b"12")
    assert store.exists("runs/r/a")
    assert store.get("runs/r/a", 2) == b"12"
    assert store.read("runs/r/a", b"".join) == b"12"
    assert below.asked == []


def test_what_was_read_is_not_asked_for_again(store: Remembered, below: Counted) -> None:
    below.put_new("runs/r/a", b"12")
    assert [store.get("runs/r/a"), store.get("runs/r/a")] == [b"12", b"12"]
    assert below.asked == ["get runs/r/a"]


def test_a_missing_object_is_asked_for_each_time(store: Remembered, below: Counted) -> None:
    assert not store.exists("runs/r/a")
    with pytest.raises(ObjectNotFound):
        store.get("runs/r/a")
    below.put_new("runs/r/a", b"1")
    assert store.exists("runs/r/a")
    assert store.get("runs/r/a") == b"1"


def test_objects_outside_runs_are_never_remembered(store: Remembered, below: Counted) -> None:
    store.put_new("models/m/latest.json", b"1")
    etag = store.get_with_etag("models/m/latest.json")[1]
    assert below.put_if_match("models/m/latest.json", b"2", etag)
    assert store.get("models/m/latest.json") == b"2"


def test_a_write_that_another_process_won_is_not_remembered(store: Remembered, below: Counted) -> None:
    below.put_new("runs/r/a", b"theirs")
    assert not store.put_if_match("runs/r/a", b"ours", None)
    assert store.get("runs/r/a") == b"theirs"


def test_the_limit_holds_for_what_is_remembered(store: Remembered) -> None:
    store.put_new("runs/r/a", b"12")
    with pytest.raises(CorruptObject, match="has more than 1 bytes"):
        store.get("runs/r/a", 1)


def test_a_large_object_is_not_remembered(store: Remembered, below: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "LARGEST_BYTES", 1)
    store.put_new("runs/r/a", b"12")
    assert store.get("runs/r/a") == b"12"
    assert below.asked == ["get runs/r/a"]


def test_a_removed_object_is_forgotten(store: Remembered) -> None:
    store.put_new("runs/r/a", b"1")
    store.remove("runs/r/a")
    assert not store.exists("runs/r/a")


def test_a_value_that_is_dropped_makes_room() -> None:
    kept: Kept[bytes] = Kept(2, len)
    kept.put("a", b"12")
    kept.drop("a")
    kept.drop("a")
    kept.put("b", b"1")
    kept.put("c", b"2")
    assert (kept.peek("a"), kept.peek("b"), kept.peek("c")) == (None, b"1", b"2")
