"""What every store promises, of the stores that need no server; and what only a folder can do wrong."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.store_behaviour import *  # noqa: F403

from fedstream.errors import ObjectConflict, StoreError, StoreUnavailable
from fedstream.record.canonical import sha256_hex
from fedstream.store.disk import OWN, DiskStore
from fedstream.store.memory import MemoryStore
from fedstream.store.remembered import Remembered


@pytest.fixture(params=["memory", "disk", "remembered"])
def store(request, tmp_path_factory):
    if request.param == "disk":
        return DiskStore(tmp_path_factory.mktemp("store"))
    return MemoryStore() if request.param == "memory" else Remembered(MemoryStore())


@pytest.fixture
def disk(tmp_path):
    return DiskStore(tmp_path / "below" / "store")


@pytest.mark.parametrize("key", ["../x", "a/../../x", "/etc/x", "a//b", "a/", ".", "a/./b", "", "a\0b", f"{OWN}/lock"])
def test_no_key_leaves_the_folder(disk, tmp_path, key):
    (tmp_path / "x").write_bytes(b"outside")
    disk.put_new("inside", b"x")
    for call in (
        disk.get,
        disk.exists,
        lambda key: disk.list(f"{key or '.'}/x"),
        lambda key: disk.put_new(key, b"x"),
        disk.remove,
    ):
        with pytest.raises(StoreError, match="no object can have the key"):
            call(key)
    assert (tmp_path / "x").read_bytes() == b"outside"


def test_other_programs_find_an_object_by_its_uri(disk, tmp_path):
    disk.put_new("a", b"1")
    assert disk.uri("a") == f"file://{tmp_path}/below/store/a"


def test_a_key_below_an_object_is_refused(disk):
    disk.put_new("a", b"1")
    with pytest.raises(StoreError, match="a"):
        disk.put_new("a/b", b"2")
    disk.put_new("folder/b", b"2")
    with pytest.raises(StoreError, match="folder"):
        disk.put_new("folder", b"3")
    assert disk.get("a") == b"1"


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreUnavailable, match=r"file/store' cannot be used: Not a directory"):
        DiskStore(tmp_path / "file" / "store").check()


def test_what_is_half_written_is_no_object(disk):
    disk.put_new("a", b"1")
    assert [path.name for path in (disk.root / OWN).iterdir()] == []
    (disk.root / OWN / "half").write_bytes(b"half")
    assert [info.key for info in disk.list("")] == ["a"]


def test_a_folder_whose_objects_are_gone_is_none(disk):
    for key in ("runs/a/rounds/0000/commit.json", "runs/b/spec.json", "models/m/latest.json"):
        disk.put_new(key, b"{}")
    disk.remove("runs/a/rounds/0000/commit.json")
    assert list(disk.folders("runs/")) == list(disk.within("runs/").folders("")) == ["b"]
    assert list(disk.folders("")) == ["models", "runs"]


def test_of_racing_processes_exactly_one_wins(disk):
    code = (
        "import sys; from fedstream.store.disk import DiskStore; from fedstream.errors import ObjectConflict\n"
        "try: print(DiskStore(sys.argv[1]).put_new('raced', sys.argv[2].encode()))\n"
        "except ObjectConflict: print('lost')"
    )

    def write(number):
        done = subprocess.run(
            [sys.executable, "-c", code, disk.root, str(number)], capture_output=True, text=True, timeout=60, check=True
        )
        return done.stdout.strip()

    with ThreadPoolExecutor(4) as pool:
        said = list(pool.map(write, range(4)))
    assert said.count("lost") == 3
    assert sha256_hex(disk.get("raced")) in said
    with pytest.raises(ObjectConflict):
        disk.put_new("raced", b"later")
