"""Which answers of a server are worth another try: a mock server gives one of them first, and then the object."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from fedstream.errors import ObjectNotFound, StoreUnavailable
from fedstream.settings import StoreSettings
from fedstream.store.objects import ObjectStore


class MockS3(BaseHTTPRequestHandler):
    """Gives the answers of its server's list, and from then on an object."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        status, code = self.server.answers.pop(0) if self.server.answers else (200, "")
        body = f"<Error><Code>{code}</Code><Message>said so</Message></Error>".encode() if code else b"object"
        self.server.asked += 1
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class MockServer(ThreadingHTTPServer):
    """A mock of an S3 server; `answers` are (HTTP status, S3 code) to give first."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), MockS3)
        self.answers: list[tuple[int, str]] = []
        self.asked = 0

    def store(self, patience_s: float) -> ObjectStore:
        return ObjectStore(StoreSettings(f"http://127.0.0.1:{self.server_port}", "user", "secret"), patience_s)


@pytest.fixture
def mock() -> Iterator[MockServer]:
    with MockServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join(10)


@pytest.mark.parametrize(
    "answer",
    [
        (503, "XMinioServerNotInitialized"),
        (503, "SlowDown"),
        (500, "InternalError"),
        (503, "NeverHeardOf"),
        (400, "RequestTimeout"),
    ],
    ids=lambda answer: answer[1],
)
def test_a_server_in_trouble_is_asked_again(mock, answer):
    mock.answers = [answer, answer]
    assert mock.store(10.0).get("k") == b"object"
    assert mock.asked == 3


def test_trouble_that_lasts_is_told_with_its_code(mock):
    mock.answers = [(503, "XMinioServerNotInitialized")] * 1000
    with pytest.raises(StoreUnavailable, match="XMinioServerNotInitialized"):
        mock.store(0.3).get("k")


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((404, "NoSuchKey"), ObjectNotFound),
        ((404, "NoSuchBucket"), StoreUnavailable),
        ((403, "InvalidAccessKeyId"), StoreUnavailable),
    ],
    ids=lambda value: value[1] if isinstance(value, tuple) else None,
)
def test_a_clear_answer_is_not_asked_for_again(mock, answer, error):
    mock.answers = [answer]
    with pytest.raises(error):
        mock.store(10.0).get("k")
    assert mock.asked == 1
