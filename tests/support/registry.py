"""A fake of Kubeflow Model Registry. Its answers are those seen of a real one."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from fedstream.serving.registry import API
from fedstream.settings import RegistrySettings

KINDS = {"registered_models": "registered_model", "versions": "model_version", "artifacts": "model_artifact"}


class FakeRegistry(ThreadingHTTPServer):
    """Names are unique within a parent, externalIds everywhere: 409 for what is there, 404 for what is not."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.things: list[dict[str, Any]] = []
        self.requests: list[tuple[str, str, str]] = []
        self.faults: list[tuple[int, bytes]] = []
        self.lost_answers, self.delay_s, self.lock = 0, 0.0, threading.Lock()
        self.settings = RegistrySettings(f"http://127.0.0.1:{self.server_port}")

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [thing for thing in self.things if thing["kind"] == kind]

    def find(self, kind: str, query: dict[str, str]) -> dict[str, Any] | None:
        return next(
            (thing for thing in self.of(kind) if all(thing.get(name) == value for name, value in query.items())), None
        )

    def make(self, kind: str, parent: str, body: dict[str, Any]) -> dict[str, Any] | None:
        with self.lock:
            external = body.get("externalId")
            if self.find(kind, {"parent": parent, "name": body["name"]}) or (
                external and self.find(kind, {"externalId": external})
            ):
                return None
            self.things.append(body | {"kind": kind, "parent": parent, "id": str(len(self.things) + 1)})
            return self.things[-1]


class Answers(BaseHTTPRequestHandler):
    server: FakeRegistry
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._serve({})

    def do_POST(self) -> None:
        self._serve(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def _serve(self, body: dict[str, Any]) -> None:
        self.server.requests.append((self.command, self.path, self.headers.get("Authorization", "")))
        time.sleep(self.server.delay_s)
        if self.server.faults:
            self._answer(*self.server.faults.pop(0))
            return
        address = urlsplit(self.path)
        parts = address.path.removeprefix(f"{API}/").split("/")
        if self.command == "GET":
            found = self.server.find(parts[0], {name: values[0] for name, values in parse_qs(address.query).items()})
            self._answer(200 if found else 404, json.dumps(found or {"code": "Not Found"}).encode())
            return
        made = self.server.make(KINDS[parts[-1]], parts[1] if len(parts) > 1 else "", body)
        if self.server.lost_answers:
            self.server.lost_answers -= 1
            self._answer(502, b"the answer got lost")
        else:
            self._answer(201 if made else 409, json.dumps(made or {"code": "Conflict"}).encode())

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if status == 302:
            self.send_header("Location", "/login")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def serving_registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()
