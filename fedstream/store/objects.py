"""The bucket: get, put, and put once, in plain S3, so that MinIO, SeaweedFS and any other server work."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import urllib3
from minio import Minio
from minio.error import MinioException, S3Error
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_exponential_jitter

from fedstream.errors import ObjectNotFound, StoreUnavailable
from fedstream.record.canonical import sha256_hex
from fedstream.settings import StoreSettings
from fedstream.store.signing import error_code, signed_put
from fedstream.store.store import PIECE_BYTES, ObjectInfo, Store, T

if TYPE_CHECKING:
    from urllib3.response import BaseHTTPResponse

CONNECT_S, READ_S = 5.0, 60.0
"""Seconds to connect, and to wait for a byte. A model of several GB is streamed, so only silence counts."""

_TRANSIENT_CODES = {"RequestTimeout"}
"""Codes to retry, like every HTTP 5xx, for which servers have codes of their own, such as MinIO while it starts."""


class _Transient(Exception):
    """A failure to retry, because the server is restarting or busy."""


class ObjectStore(Store):
    """The objects of one bucket below one prefix. Connects only when used.

    An empty object counts as none, and is replaced: SeaweedFS keeps one of a PUT whose client died after the headers.

    Args:
        settings: address of the bucket, and its credentials.
        patience_s: seconds that a server can be unavailable, for example during a restart, before a call gives up.
    """

    def __init__(self, settings: StoreSettings, patience_s: float = 30.0) -> None:
        self.settings = settings
        self._patience_s = patience_s
        endpoint = urlsplit(settings.endpoint_url)
        self._http = urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=CONNECT_S, read=READ_S), retries=False, maxsize=8
        )
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

    @property
    def name(self) -> str:
        return f"bucket {self.settings.bucket!r}"

    @property
    def access(self) -> Mapping[str, str]:
        return {"endpoint": self.settings.endpoint_url, "defaultRegion": self.settings.region}

    def uri(self, key: str) -> str:
        return f"s3://{self.settings.bucket}/{self._full(key)}"

    def within(self, prefix: str) -> ObjectStore:
        return ObjectStore(replace(self.settings, prefix=self._full(prefix)))

    def check(self) -> None:
        """Raise StoreUnavailable unless the bucket exists and the credentials work."""
        if not self._try(lambda: self._client.bucket_exists(self.settings.bucket)):
            raise StoreUnavailable(
                f"bucket {self.settings.bucket!r} does not exist at {self.settings.endpoint_url}; "
                "create it, or set S3_BUCKET to one that does"
            )

    def ensure_bucket(self) -> None:
        """Create the bucket unless it exists."""
        try:
            self._try(lambda: self._client.make_bucket(self.settings.bucket))
        except S3Error as error:
            if error.code not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                raise self._unavailable(str(error)) from error

    def get_with_etag(self, key: str, limit: int | None = None) -> tuple[bytes, str]:
        """Return an object's bytes, at most one more than the limit, and the tag that put_if_match takes."""

        def read() -> tuple[bytes, str]:
            response = self._client.get_object(self.settings.bucket, self._full(key))
            try:
                return response.read(None if limit is None else limit + 1), response.headers.get("ETag", "")
            finally:
                response.close()
                response.release_conn()

        data, etag = self._on(key, read)
        if not data:
            raise self._not_found(key)
        return data, etag

    def read(self, key: str, take: Callable[[Iterator[bytes]], T]) -> T:
        def opened() -> T:
            response = self._client.get_object(self.settings.bucket, self._full(key))
            try:
                if response.headers.get("Content-Length") == "0":
                    raise self._not_found(key)
                return take(response.stream(PIECE_BYTES))
            finally:
                response.close()
                response.release_conn()

        return self._on(key, opened)

    def exists(self, key: str) -> bool:
        """Tell whether there is such an object."""
        return bool(self._stat(key)[0])

    def list(self, prefix: str) -> list[ObjectInfo]:
        """Return all objects below a prefix, sorted by key."""
        objects = self._on(
            prefix, lambda: list(self._client.list_objects(self.settings.bucket, self._full(prefix), recursive=True))
        )
        infos = [
            ObjectInfo(item.object_name.removeprefix(self.settings.prefix), item.size, item.last_modified)
            for item in objects
            if item.object_name and item.last_modified and item.size
        ]
        return sorted(infos, key=lambda info: info.key)

    def folders(self, prefix: str) -> Sequence[str]:
        """Return the names of the folders directly below a prefix that ends with a slash, sorted."""
        objects = self._on(prefix, lambda: list(self._client.list_objects(self.settings.bucket, self._full(prefix))))
        return sorted(
            item.object_name.removeprefix(self._full(prefix)).rstrip("/")
            for item in objects
            if item.object_name and item.is_dir
        )

    def put_if_match(self, key: str, data: bytes, etag: str | None) -> bool:
        """Send a PUT with a condition, which minio-py's put_object does not support."""
        written = self._put_if(key, data, {"If-Match": etag} if etag else {"If-None-Match": "*"})
        if not written and not etag:
            size, left = self._stat(key)
            written = not size and bool(left) and self._put_if(key, data, {"If-Match": left})
        return written

    def _put_if(self, key: str, data: bytes, condition: dict[str, str]) -> bool:
        digest = sha256_hex(data)

        def write() -> BaseHTTPResponse:
            url, headers = self._signed_put(key, digest, condition)
            response = self._http.request("PUT", url, body=data, headers=headers)
            if response.status >= 500 or response.status == 409:
                raise _Transient(f"HTTP {response.status}")
            return response

        response = self._try(write)
        if response.status in (200, 204):
            return True
        code = error_code(response.data)
        # MinIO says NoSuchKey of If-Match on no object.
        if response.status == 412 or (code == "NoSuchKey" and "If-Match" in condition):
            return False
        raise self._unavailable(f"PUT {key}: HTTP {response.status} {code}")

    def remove(self, key: str) -> None:
        """Remove an object that is on no record, such as a probe's. Without permission, the object stays."""
        with suppress(StoreUnavailable, S3Error):
            self._try(lambda: self._client.remove_object(self.settings.bucket, self._full(key)))

    def _signed_put(self, key: str, digest: str, condition: dict[str, str]) -> tuple[str, dict[str, Any]]:
        return signed_put(
            self._client.get_presigned_url("PUT", self.settings.bucket, self._full(key)),
            self.settings,
            digest,
            condition,
        )

    def _stat(self, key: str) -> tuple[int, str]:
        """Return the size and the tag of an object; 0 and an empty string if there is none."""
        try:
            found = self._on(key, lambda: self._client.stat_object(self.settings.bucket, self._full(key)))
        except ObjectNotFound:
            return 0, ""
        return found.size or 0, f'"{found.etag}"'

    def _full(self, key: str) -> str:
        return self.settings.prefix + key

    def _not_found(self, key: str) -> ObjectNotFound:
        return ObjectNotFound(f"there is no object {self._full(key)!r} in bucket {self.settings.bucket!r}")

    def _on(self, key: str, call: Callable[[], T]) -> T:
        try:
            return self._try(call)
        except S3Error as error:
            if error.code in ("NoSuchKey", "NoSuchObject", "ResourceNotFound"):
                raise self._not_found(key) from error
            raise self._unavailable(f"{error.code}: {error.message}") from error

    def _try(self, call: Callable[[], T]) -> T:
        """Retry a call for up to `patience_s`, but only while the server is unavailable; pass on all other answers."""

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
            advice = "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and that they can access the bucket"
        return StoreUnavailable(
            f"the object store at {settings.endpoint_url} (bucket {settings.bucket!r}) does not work: {what}; {advice}"
        )
