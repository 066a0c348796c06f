"""Find this machine's Maven repository, and download a file from it. Maven itself is not needed."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from urllib.parse import urlsplit
from xml.etree import ElementTree

from fedstream.errors import PlatformError

VARIABLE = "MAVEN_REPOSITORY_URL"
CENTRAL = "https://repo.maven.apache.org/maven2"
MOST_BYTES = 64 * 2**20
"""Maximum size of a jar."""
CONNECT_S, READ_S = 10.0, 60.0
TRIES = 4


def repository() -> str:
    """Return the URL of the repository: $MAVEN_REPOSITORY_URL, the mirror in Maven's settings.xml, or Maven Central.

    Raises:
        PlatformError: settings.xml cannot be read.
    """
    return (os.environ.get(VARIABLE) or _mirror(Path.home() / ".m2" / "settings.xml") or CENTRAL).rstrip("/")


def _mirror(settings: Path) -> str:
    """Return the first mirror of Maven Central; empty if there is none."""
    try:
        mirrors = ElementTree.parse(settings).getroot().iterfind(".//{*}mirror")  # noqa: S314 (the user's own file)
    except FileNotFoundError:
        return ""
    except (OSError, ElementTree.ParseError) as error:
        raise PlatformError(
            f"{settings} cannot be read ({error}); correct it, or set {VARIABLE} to a Maven repository"
        ) from error
    for mirror in mirrors:
        of = re.split(r"[\s,]+", mirror.findtext("{*}mirrorOf", "").strip())
        if "!central" not in of and {"*", "central", "external:*"} & set(of):
            return mirror.findtext("{*}url", "").strip()
    return ""


def without_credentials(url: str) -> str:
    """Return a URL without its user name and password."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def fetch(url: str, target: Path, digest: str) -> None:
    """Download a file, using the proxy and the credentials in the environment and in ~/.netrc.

    Args:
        url: URL of the file.
        target: Path to write to; an existing file is overwritten.
        digest: Expected SHA-256 of the file, in hexadecimal.

    Raises:
        PlatformError: The repository does not answer or serves a different file; `target` must then not be used.
    """
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3 import Retry

    shown, found = without_credentials(url), hashlib.sha256()
    retries = Retry(total=TRIES, backoff_factor=0.5, status_forcelist=(429, 500, 502, 503, 504), raise_on_status=False)
    try:
        with requests.Session() as session, target.open("wb") as file:
            session.mount("https://", HTTPAdapter(max_retries=retries))
            session.mount("http://", HTTPAdapter(max_retries=retries))
            answer = session.get(url, stream=True, timeout=(CONNECT_S, READ_S))
            answer.raise_for_status()
            for block in answer.iter_content(2**20):
                found.update(block)
                if file.tell() + len(block) > MOST_BYTES:
                    raise PlatformError(f"{shown} is larger than {MOST_BYTES} bytes, so it is not the expected jar")
                file.write(block)
    except (requests.RequestException, OSError) as error:
        raise PlatformError(f"{shown} cannot be downloaded: {str(error).replace(url, shown)}") from error
    if found.hexdigest() != digest:
        raise PlatformError(
            f"{shown} has SHA-256 {found.hexdigest()}, expected {digest}: the repository serves a different file"
        )
