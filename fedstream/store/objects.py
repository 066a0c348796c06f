"""The bucket: get, put, and put once. Plain S3, so that MinIO, SeaweedFS and any other server do."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar
from urllib.parse import urlsplit

import urllib3
from minio import Minio
from minio.credentials.credentials import Credentials
from minio.error import MinioException, S3Error
from minio.signer import sign_v4_s3
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_exponential_jitter

from fedstream.errors import CorruptObject, FedstreamError, ObjectConflict, ObjectNotFound, StoreError, StoreUnavailable
from fedstream.record.canonical import canonical_json, sha256_hex
from fedstream.settings import StoreSettings

if TYPE_CHECKING:
    from urllib3.response import BaseHTTPResponse

T = TypeVar("T")

CONNECT_S, READ_S = 5.0, 60.0
"""Seconds to connect, and to wait for a byte: a model of some GB streams, so only silence counts."""

PIECE_BYTES = 1 << 20
"""Read at once by `download`."""

_TRANSIENT_CODES = {"RequestTimeout"}
"""Worth another try, as every HTTP 5xx is: servers have codes of their own there, such as MinIO's while it starts."""


class _Transient(Exception):
    """Worth another try: the server is restarting, or busy."""


@dataclass(frozen=True)
class ObjectInfo:
    """An object in a listing; the key is relative to the settings' prefix."""

    key: str
    size: int
    last_modified: datetime


class ObjectStore:
    """Objects of one bucket below one prefix. Connects only when used.

    Args:
        settings: where the bucket is.
        patience_s: seconds a server may be away (restarting, say) before a call gives up.
    """

    def __init__(self, settings: StoreSettings, patience_s: float = 30.0) -> None:
        self.settings = settings
        self._patience_s = patience_s
        endpoint = urlsplit(settings.endpoint_url)
        self._http = urllib3.PoolManager(timeout=urllib3.Timeout(connect=CONNECT_S, read=READ_S), retries=False, maxsize=8)
        self._client = Minio(
            endpoint.netloc,
            access_key=settings.access_key,
            secret_key=settings.secret_key,
            secure=endpoint.scheme == "https",
            region=settings.region,
            http_client=self._http,
        )

    @classmethod
    def from_env(cls) -> ObjectStore:
        return cls(StoreSettings.from_env())

    def check(self) -> None:
        """Raise StoreUnavailable unless the bucket is there and the credentials work."""
        if not self._try(lambda: self._client.bucket_exists(self.settings.bucket)):
            raise StoreUnavailable(
                f"bucket {self.settings.bucket!r} does not exist at {self.settings.endpoint_url}; create it, or set S3_BUCKET to one that does"
            )

    def ensure_bucket(self) -> None:
        """Create the bucket unless it is there."""
        try:
            self._try(lambda: self._client.make_bucket(self.settings.bucket))
        except S3Error as error:
            if error.code not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                raise self._unavailable(str(error)) from error

    def get(self, key: str, limit: int | None = None) -> bytes:
        """Return an object's bytes.

        Args:
            key: the object.
            limit: most bytes it may have; None for any number.

        Raises:
            ObjectNotFound: there is no such object.
            CorruptObject: it is larger than the limit, of which nothing more is read.
            StoreUnavailable: the server, the bucket or the credentials do not work.
        """
        data = self.get_with_etag(key, limit)[0]
        if limit is not None and len(data) > limit:
            raise CorruptObject(f"{key} has more than {limit:,} bytes, which fedstream never writes there; it was made by somebody else")
        return data

    def get_with_etag(self, key: str, limit: int | None = None) -> tuple[bytes, str]:
        """Return an object's bytes (one more than the limit, if it has more), and the tag that put_if_match takes."""

        def read() -> tuple[bytes, str]:
            response = self._client.get_object(self.settings.bucket, self._full(key))
            try:
                return response.read(None if limit is None else limit + 1), response.headers.get("ETag", "")
            finally:
                response.close()
                response.release_conn()

        return self._on(key, read)

    def get_verified(self, key: str, digest: str) -> bytes:
        """Return an object's bytes, whose SHA-256 must be `digest`.

        Raises:
            CorruptObject: it is another.
        """
        data = self.get(key)
        if (found := sha256_hex(data)) != digest:
            raise CorruptObject(f"{key} has digest {found}, but {digest} is on record; it was changed after it was written")
        return data

    def download(self, key: str, digest: str, path: Path, limit: int) -> None:
        """Write an object, whose SHA-256 must be `digest`, to a new file, piece by piece.

        Args:
            key: the object.
            digest: SHA-256 on record.
            path: the file.
            limit: most bytes it may have.

        Raises:
            CorruptObject: it is another, or larger than the limit, of which hardly more is read; there is no file.
            ObjectNotFound: there is no such object.
            StoreUnavailable: the server, the bucket or the credentials do not work.
            StoreError: the file cannot be written.
        """

        def read() -> str:
            response, hashed = self._client.get_object(self.settings.bucket, self._full(key)), hashlib.sha256()
            try:
                with path.open("wb", buffering=0) as file:
                    for piece in response.stream(PIECE_BYTES):
                        if file.tell() + len(piece) > limit:
                            raise CorruptObject(
                                f"{key} has more than {limit:,} bytes, which no update of this model has; it was made by somebody else"
                            )
                        hashed.update(piece)
                        _write(file, piece)
            finally:
                response.close()
                response.release_conn()
            return hashed.hexdigest()

        try:
            found = self._on(key, read)
            if found != digest:
                raise CorruptObject(f"{key} has digest {found}, but {digest} is on record; it was changed after it was written")
        except FedstreamError:
            path.unlink(missing_ok=True)
            raise

    def digest(self, key: str) -> str:
        """Return the SHA-256 of an object of any size, which is read piece by piece.

        Raises:
            ObjectNotFound: there is no such object.
            StoreUnavailable: the server, the bucket or the credentials do not work.
        """

        def read() -> str:
            response, hashed = self._client.get_object(self.settings.bucket, self._full(key)), hashlib.sha256()
            try:
                for piece in response.stream(PIECE_BYTES):
                    hashed.update(piece)
            finally:
                response.close()
                response.release_conn()
            return hashed.hexdigest()

        return self._on(key, read)

    def get_json(self, key: str) -> Any:
        """Return the JSON value of an object."""
        try:
            return json.loads(self.get(key))
        except (ValueError, RecursionError) as error:
            raise CorruptObject(f"{key} is not JSON ({error}); it was changed after it was written") from error

    def exists(self, key: str) -> bool:
        """Tell whether there is such an object."""
        try:
            self._on(key, lambda: self._client.stat_object(self.settings.bucket, self._full(key)))
        except ObjectNotFound:
            return False
        return True

    def list(self, prefix: str) -> list[ObjectInfo]:
        """Return all objects below a prefix, sorted by key."""
        objects = self._on(prefix, lambda: list(self._client.list_objects(self.settings.bucket, self._full(prefix), recursive=True)))
        infos = [
            ObjectInfo(item.object_name.removeprefix(self.settings.prefix), item.size or 0, item.last_modified)
            for item in objects
            if item.object_name and item.last_modified and not item.is_dir
        ]
        return sorted(infos, key=lambda info: info.key)

    def folders(self, prefix: str) -> Sequence[str]:
        """Return the names of the folders right below a prefix that ends with a slash, sorted."""
        objects = self._on(prefix, lambda: list(self._client.list_objects(self.settings.bucket, self._full(prefix))))
        return sorted(item.object_name.removeprefix(self._full(prefix)).rstrip("/") for item in objects if item.object_name and item.is_dir)

    def put_new(self, key: str, data: bytes) -> str:
        """Write an object once, and return its SHA-256. Found there already: the same bytes are a success (a retry).

        Raises:
            ObjectConflict: it is there with other bytes.
        """
        digest = sha256_hex(data)
        if not self._put(key, data, digest, {"If-None-Match": "*"}):
            found = sha256_hex(self.get(key))
            if found != digest:
                raise ObjectConflict(f"{key} is on record with digest {found} and is never overwritten; the new bytes have {digest}")
        return digest

    def put_new_json(self, key: str, value: Any) -> str:
        """Write a JSON value once, in its canonical form."""
        return self.put_new(key, canonical_json(value))

    def put_if_match(self, key: str, data: bytes, etag: str | None) -> bool:
        """Replace an object if its tag is still `etag` (None: if it is not there), and tell whether it was."""
        return self._put(key, data, sha256_hex(data), {"If-Match": etag} if etag else {"If-None-Match": "*"})

    def remove(self, key: str) -> None:
        """Remove an object that is on no record, such as a probe's; one that may not be removed stays."""
        with suppress(StoreUnavailable, S3Error):
            self._try(lambda: self._client.remove_object(self.settings.bucket, self._full(key)))

    def _put(self, key: str, data: bytes, digest: str, condition: dict[str, str]) -> bool:
        """PUT with a condition, which minio-py's put_object does not take."""

        def write() -> BaseHTTPResponse:
            url, headers = self._signed_put(key, digest, condition)
            response = self._http.request("PUT", url, body=data, headers=headers)
            if response.status >= 500 or response.status == 409:
                raise _Transient(f"HTTP {response.status}")
            return response

        response = self._try(write)
        if response.status in (200, 204):
            return True
        if response.status == 412:
            return False
        raise self._unavailable(f"PUT {key}: HTTP {response.status} {_code(response.data)}")

    def _signed_put(self, key: str, digest: str, condition: dict[str, str]) -> tuple[str, dict[str, Any]]:
        """Return the address and the headers of a PUT. All of it is signed: the time, for 15 minutes, the condition, and the digest of the bytes.

        So whoever sees the request can send the same once more, which changes nothing, and not without its condition. That the bytes are those
        of the digest is compared by MinIO and Amazon S3, not by SeaweedFS.
        """
        url = urlsplit(self._client.get_presigned_url("PUT", self.settings.bucket, self._full(key)))._replace(query="")  # only where the object is
        now = datetime.now(UTC)
        headers: dict[str, Any] = condition | {"Host": url.netloc, "x-amz-date": now.strftime("%Y%m%dT%H%M%SZ"), "x-amz-content-sha256": digest}
        signed = sign_v4_s3(
            method="PUT",
            url=url,
            region=self.settings.region,
            headers=headers,
            credentials=Credentials(self.settings.access_key, self.settings.secret_key),
            content_sha256=digest,
            date=now,
        )
        return url.geturl(), signed

    def _full(self, key: str) -> str:
        return self.settings.prefix + key

    def _on(self, key: str, call: Callable[[], T]) -> T:
        try:
            return self._try(call)
        except S3Error as error:
            if error.code in ("NoSuchKey", "NoSuchObject", "ResourceNotFound"):
                raise ObjectNotFound(f"there is no object {self._full(key)!r} in bucket {self.settings.bucket!r}") from error
            raise self._unavailable(f"{error.code}: {error.message}") from error

    def _try(self, call: Callable[[], T]) -> T:
        """Call until it works, for `patience_s`; other answers than the server's absence are passed on."""

        def once() -> T:
            try:
                return call()
            except S3Error as error:
                if error.response.status >= 500 or error.code in _TRANSIENT_CODES:
                    raise _Transient(str(error)) from error
                if error.code in ("NoSuchBucket", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"):
                    raise self._unavailable(f"{error.code}: {error.message}") from error
                raise
            except (urllib3.exceptions.HTTPError, OSError, MinioException) as error:
                raise _Transient(str(error)) from error

        began = time.monotonic()
        retrying = Retrying(
            stop=stop_after_delay(self._patience_s),
            wait=wait_exponential_jitter(multiplier=0.1, max=2.0),
            retry=retry_if_exception_type(_Transient),
            reraise=True,
        )
        try:
            return retrying(once)
        except _Transient as error:
            raise self._unavailable(f"no answer in {time.monotonic() - began:.0f} s: {error}") from error

    def _unavailable(self, what: str) -> StoreUnavailable:
        settings = self.settings
        advice = "check S3_ENDPOINT_URL and that the server runs"
        if "NoSuchBucket" in what:
            advice = f"create bucket {settings.bucket!r}, or set S3_BUCKET to one that exists"
        elif any(code in what for code in ("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "HTTP 403")):
            advice = "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and that they may use the bucket"
        return StoreUnavailable(f"the object store at {settings.endpoint_url} (bucket {settings.bucket!r}) does not work: {what}; {advice}")


def _write(file: BinaryIO, piece: bytes) -> None:
    try:
        file.write(piece)
    except OSError as error:
        raise StoreError(f"cannot write {file.name}: {error.strerror}; make room there, or let TMPDIR name a folder with more") from error


def _code(body: bytes) -> str:
    """Return the error code of an S3 answer, by its tags alone."""
    text = body.decode("utf-8", "replace")
    return text.split("<Code>", 1)[1].split("</Code>", 1)[0] if "<Code>" in text else ""
