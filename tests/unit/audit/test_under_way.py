"""A run is verified while it goes on: whatever is written meanwhile, in the order in which a run writes it,
nobody is accused.
"""

import re

import pytest
from support.recorded import MODEL, RUN, RecordedStore

from fedstream.audit import verify_run

ORDER = [
    "opened",
    "selection",
    "slices",
    "refusals",
    r"updates/.*\.safetensors",
    "updates",
    "verdicts",
    "server_state",
    "global",
    "commit",
]
"""What a round writes, first to last."""


def written_at(key):
    """Return what sorts the objects of a run by the time they were written."""
    if key.startswith("models/"):
        late = ("/versions/" in key) + (f"{MODEL}/latest" in key) * 3 + ("manifest.json" in key)
        return (10**6 if late else -2), late, key
    if key.endswith("spec.json"):
        return -1, 0, key
    number, name = re.search(r"rounds/(\d+)/(.+)", key).groups()
    return int(number), next(place for place, part in enumerate(ORDER) if re.match(part, name)), key


class GrowingStore(RecordedStore):
    """A recorded run that goes on while it is read: at one of the reader's requests, some objects are written."""

    def __init__(self, name):
        super().__init__(name)
        self.whole, self.requests = dict(self.objects), 0
        self.order = sorted(self.whole, key=written_at)

    def start(self, now, then, at):
        """Hold the first `now` objects, and the first `then` from request number `at` on."""
        self.objects = {key: self.whole[key] for key in self.order[:now]}
        self.then, self.at, self.requests = then, at, 0

    def request(self):
        self.requests += 1
        if self.requests == self.at:
            self.objects = {key: self.whole[key] for key in self.order[: self.then]}

    def get_with_etag(self, key, limit=None):
        self.request()
        return super().get_with_etag(key, limit)

    def exists(self, key):
        self.request()
        return super().exists(key)

    def list(self, prefix):
        self.request()
        return super().list(prefix)


@pytest.fixture(params=["federated", "evaluated"])
def growing(request):
    return GrowingStore(request.param)


def starts(growing):
    first = next(place for place, key in enumerate(growing.order) if key.endswith("spec.json"))
    return range(first + 1, len(growing.order) + 1)


def test_after_each_write_all_is_well(growing):
    for now in starts(growing):
        growing.start(now, now, 0)
        assert verify_run(growing, RUN).problems == [], growing.order[now - 1]


def test_what_is_written_while_it_is_verified_is_no_fault(growing):
    """The run goes on to its end, round after round and with its publication,
    between any two of verify's first requests.
    """
    for now in list(starts(growing))[::5]:
        for at in range(1, 13):
            growing.start(now, len(growing.order), at)
            assert verify_run(growing, RUN).problems == [], (growing.order[now - 1], at)
