"""An HTTP server in a thread, for fakes of servers that a test machine can't have."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Answer = tuple[int, Any]
"""HTTP status, and a JSON document or text."""


class Refused(Exception):
    """An answer that is an error: status, what the API says, and its own code for it."""

    def __init__(self, status: int, message: str, code: int = 3) -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code


class FakeServer(ThreadingHTTPServer):
    """Answers requests with the value of `answer(method, path, query, body)`, a document or an Answer,
    after those of `first`.

    Attributes:
        first: answers to give before all others, whatever is asked; a number means: say nothing for so many seconds.
        asked: `METHOD path` of every request.
        headers: headers of the last request.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.first: list[Answer | float] = []
        self.asked: list[str] = []
        self.headers: dict[str, str] = {}
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def answer(self, method: str, path: str, query: dict[str, str], body: bytes) -> Any:
        raise NotImplementedError

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that did not wait."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    @contextmanager
    def running(self) -> Iterator[FakeServer]:
        thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            with self:
                yield self
                self.shutdown()
        finally:
            self.shutdown()
            thread.join(10)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or each answer waits 40 ms for its body
    server: FakeServer

    def _do(self) -> None:
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        server = self.server
        with server.lock:
            server.asked.append(f"{self.command} {parts.path}")
            server.headers = dict(self.headers)
            early = server.first.pop(0) if server.first else None
        if isinstance(early, float):
            time.sleep(early)
        if isinstance(early, tuple):
            self._send(*early)
            return
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        try:
            with server.lock:
                found = server.answer(self.command, parts.path, query, body)
            self._send(*(found if isinstance(found, tuple) else (200, found)))
        except Refused as refused:
            self._send(refused.status, {"message": refused.message, "code": refused.code})

    do_GET = do_POST = do_DELETE = do_PUT = do_HEAD = _do

    def _send(self, status: int, found: Any) -> None:
        data = found.encode() if isinstance(found, str) else json.dumps(found).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain" if isinstance(found, str) else "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""
