"""A store in a folder of this machine, which several processes can share."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from tempfile import NamedTemporaryFile

from filelock import FileLock

from fedstream.errors import ObjectNotFound, StoreError, StoreUnavailable
from fedstream.record.canonical import sha256_hex
from fedstream.store.store import PIECE_BYTES, ObjectInfo, Store, T

OWN = ".fedstream"
"""Folder of the lock, and of files that are still being written. No key begins with it."""

LOCK_S = 60.0
"""Seconds to wait for the lock, which a process holds while it replaces a pointer."""


class DiskStore(Store):
    """Objects as files below a folder. A file appears under its name only when it is completely on the disk.

    Args:
        root: the folder; it is created at the first write.
        prefix: prefix of all keys; empty, or ends with a slash.
    """

    def __init__(self, root: str | Path, prefix: str = "") -> None:
        self.root, self.prefix = Path(root).absolute(), prefix

    @property
    def name(self) -> str:
        return f"folder {str(self.root)!r}"

    def uri(self, key: str) -> str:
        return self._path(key).as_uri()

    def check(self) -> None:
        try:
            (self.root / OWN).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreUnavailable(
                f"{self.name} cannot be used: {error.strerror}; use a folder that you can write to"
            ) from error

    def within(self, prefix: str) -> DiskStore:
        return DiskStore(self.root, self.prefix + prefix)

    def get_with_etag(self, key: str, limit: int | None = None) -> tuple[bytes, str]:
        # The tag belongs to the returned bytes. For an object over the limit it matches nothing, and no caller replaces
        # such an object.
        data = self._open(key, lambda pieces: b"".join(_first(pieces, limit)))
        return data, sha256_hex(data)

    def read(self, key: str, take: Callable[[Iterator[bytes]], T]) -> T:
        return self._open(key, take)

    def exists(self, key: str) -> bool:
        return self._path(key).is_file()

    def list(self, prefix: str) -> list[ObjectInfo]:
        wanted, found = self.prefix + prefix, []
        folder = wanted.rpartition("/")[0]
        for where, folders, names in os.walk(self._checked(folder) if folder else self.root):
            if Path(where) == self.root:
                folders[:] = [name for name in folders if name != OWN]
            for path in (Path(where, name) for name in names):
                key = path.relative_to(self.root).as_posix()
                with suppress(FileNotFoundError):  # removed in the meantime
                    if key.startswith(wanted):
                        stat = path.stat()
                        found.append(
                            ObjectInfo(
                                key.removeprefix(self.prefix), stat.st_size, datetime.fromtimestamp(stat.st_mtime, UTC)
                            )
                        )
        return sorted(found, key=lambda info: info.key)

    def folders(self, prefix: str) -> Sequence[str]:
        """Look for one file in each folder, since removed objects leave empty folders, and not at all objects."""
        wanted = (self.prefix + prefix).rpartition("/")[0]
        folder = self._checked(wanted) if wanted else self.root
        below = folder.iterdir() if folder.is_dir() else ()
        return sorted(
            path.name for path in below if path != self.root / OWN and any(files for *_, files in os.walk(path))
        )

    def put_if_match(self, key: str, data: bytes, etag: str | None) -> bool:
        path = self._path(key)
        if etag is None:
            return not path.exists() and self._write(path, data, os.link)
        with self._locked():
            try:
                there = self.get_with_etag(key)[1]
            except ObjectNotFound:
                return False
            return there == etag and self._write(path, data, os.replace)

    def remove(self, key: str) -> None:
        with self._locked(), suppress(OSError):
            self._path(key).unlink()

    def _locked(self) -> FileLock:
        self.check()
        return FileLock(self.root / OWN / "lock", timeout=LOCK_S)

    def _open(self, key: str, take: Callable[[Iterator[bytes]], T]) -> T:
        try:
            file = self._path(key).open("rb")
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise ObjectNotFound(f"there is no object {self.prefix + key!r} in {self.name}") from error
        except OSError as error:
            raise StoreUnavailable(f"{self.name} cannot be used: {key}: {error.strerror}") from error
        with file:
            return take(iter(lambda: file.read(PIECE_BYTES), b""))

    def _write(self, path: Path, data: bytes, place: Callable[[str, Path], None]) -> bool:
        """Write a file under a temporary name, and move it into place.

        Returns False if `place` is os.link and the target exists.
        """
        self.check()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with NamedTemporaryFile(dir=self.root / OWN, delete=False) as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            try:
                place(file.name, path)
            finally:
                Path(file.name).unlink(missing_ok=True)
            _sync(path.parent)
        except FileExistsError:
            if path.is_file():
                return False
            raise StoreError(f"{path} is a folder, or is below a file, so no object can have this key") from None
        except OSError as error:
            raise StoreError(
                f"cannot write {path}: {error.strerror}; free some space there, or use another folder"
            ) from error
        return True

    def _path(self, key: str) -> Path:
        return self._checked(self.prefix + key)

    def _checked(self, key: str) -> Path:
        """Return the path of a key, which is always inside the folder.

        Raises:
            StoreError: no object can have this key.
        """
        parts = key.split("/")
        if parts[0] == OWN or any(part in ("", ".", "..") or re.search(r"[\0\\]", part) for part in parts):
            raise StoreError(
                f"no object can have the key {key!r}: "
                "use names that are neither empty nor '.' nor '..', with slashes between them"
            )
        return self.root / key


def _first(pieces: Iterator[bytes], limit: int | None) -> Iterator[bytes]:
    """Yield pieces until their total is one byte more than the limit, at most."""
    left = None if limit is None else limit + 1
    for piece in pieces:
        yield piece[:left]
        left = None if left is None else left - len(piece[:left])
        if left == 0:
            return


def _sync(folder: Path) -> None:
    """Wait until a folder's entries are on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
