"""A conditional PUT for S3, signed with its condition, which minio-py's `put_object` does not support."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from minio.credentials.credentials import Credentials
from minio.signer import sign_v4_s3

from fedstream.settings import StoreSettings


def signed_put(
    place: str, settings: StoreSettings, digest: str, condition: dict[str, str]
) -> tuple[str, dict[str, Any]]:
    """Return the address and the headers of a signed PUT.

    The signature covers the time, for 15 minutes, the condition, and the digest of the bytes. Anyone who sees the
    request can therefore only repeat it, with its condition, which changes nothing. MinIO and Amazon S3
    compare the bytes with the digest; SeaweedFS does not.

    Args:
        place: a presigned address of the object; its query is not used.
        settings: the region and the credentials.
        digest: SHA-256 of the bytes.
        condition: the header with the condition.
    """
    url = urlsplit(place)._replace(query="")
    now = datetime.now(UTC)
    headers: dict[str, Any] = condition | {
        "Host": url.netloc,
        "x-amz-date": now.strftime("%Y%m%dT%H%M%SZ"),
        "x-amz-content-sha256": digest,
    }
    signed = sign_v4_s3(
        method="PUT",
        url=url,
        region=settings.region,
        headers=headers,
        credentials=Credentials(settings.access_key, settings.secret_key),
        content_sha256=digest,
        date=now,
    )
    return url.geturl(), signed


def error_code(body: bytes) -> str:
    """Return the error code in an S3 response, found by its tags alone."""
    text = body.decode("utf-8", "replace")
    return text.split("<Code>", 1)[1].split("</Code>", 1)[0] if "<Code>" in text else ""
