"""A conditional PUT for S3, signed with its condition, which minio-py's `put_object` does not take."""

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
    """Return the address and the headers of a PUT. All of it is signed: the time, for 15 minutes, the condition, and the digest of the bytes.

    So whoever sees the request can send the same once more, which changes nothing, and not without its condition. That the bytes are those of the
    digest is compared by MinIO and Amazon S3, not by SeaweedFS.

    Args:
        place: a presigned address of the object, whose query is not used.
        settings: the region and the credentials.
        digest: SHA-256 of the bytes.
        condition: header of the condition.
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
    """Return the error code of an S3 answer, by its tags alone."""
    text = body.decode("utf-8", "replace")
    return text.split("<Code>", 1)[1].split("</Code>", 1)[0] if "<Code>" in text else ""
