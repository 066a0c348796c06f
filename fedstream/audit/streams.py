"""Read a run's records again, and measure its models again: what only the brokers can vouch for."""

from __future__ import annotations

from functools import cached_property

from fedstream.errors import FedstreamError
from fedstream.record.documents import Commit, Metrics, SliceDoc
from fedstream.record.offsets import parse_ranges
from fedstream.record.run import MatchedClient
from fedstream.steps.context import Context
from fedstream.steps.evaluation import measure_on, read_evaluation
from fedstream.store.state import RunState
from fedstream.stream.broker import Brokers
from fedstream.stream.codec import get_codec
from fedstream.stream.records import RawRecords

TOLERANCE = 1e-3
"""How far a measurement may be from that of another processor: of a value, and of the records in a confusion matrix."""


class Streams:
    """The brokers of a run, for an audit.

    Args:
        state: the run.
        brokers: where its records are kept.
        deadline_s: seconds for one slice, and for the evaluation topic.

    Attributes:
        records: how many records were read again.
    """

    def __init__(self, state: RunState, brokers: Brokers, deadline_s: float) -> None:
        self.state, self.brokers, self.deadline_s, self.records = state, brokers, deadline_s, 0
        self._context = Context(state.store, brokers)
        self._found: dict[tuple[str, str, str], str] = {}

    def check_slice(self, client: str, document: SliceDoc) -> str:
        """Return what is wrong with a client's records, or an empty string; the same slice is read once."""
        slice = (client, document.ranges_text, document.digest)
        if slice not in self._found:
            self.records += document.records
            self._found[slice] = self._read(client, document)
        return self._found[slice]

    def check_measurement(self, commit: Commit) -> str:
        """Return what is wrong with what a commit says its model scores on the evaluation topic, or an empty string."""
        evaluation = self.state.record.evaluation
        if evaluation is None or commit.metrics is None:
            return ""
        try:
            records = self._evaluation
            if records.digest != commit.evaluation_digest:
                return f"the records of the evaluation topic have digest {records.digest}, expected {commit.evaluation_digest}"
            measured = measure_on(self._context, self.state, commit.round, commit.weights_digest, records)
        except FedstreamError as error:
            return f"its model cannot be measured again: {error}"
        return why_different(commit.metrics, measured)

    @cached_property
    def _evaluation(self) -> RawRecords:
        evaluation: MatchedClient | None = self.state.record.evaluation
        assert evaluation is not None
        self.records += evaluation.records
        return read_evaluation(self.brokers.at(""), evaluation, self.deadline_s)

    def _read(self, client: str, document: SliceDoc) -> str:
        try:
            size = get_codec("RAW", document.input_config).record_size
            broker = self.brokers.at(self.state.record.client(client).bootstrap_servers)
            records = broker.read_ranges(parse_ranges(document.ranges_text), self.deadline_s, size)
        except FedstreamError as error:
            return f"its records cannot be read again: {error}"
        if records.digest == document.digest:
            return ""
        return f"the records of {document.ranges_text} have digest {records.digest}, expected {document.digest}"


def why_different(said: Metrics, measured: Metrics) -> str:
    """Return how one measurement differs from another of the same model and records, beyond what processors differ in; or an empty string."""
    if said.values.keys() != measured.values.keys():
        return f"it has metrics {', '.join(sorted(said.values))}, measured again are {', '.join(sorted(measured.values))}"
    for name, value in sorted(measured.values.items()):
        if abs(said.values[name] - value) > TOLERANCE * max(1.0, abs(value)):
            return f"its {name} is {said.values[name]:g}, measured again it is {value:g}"
    ours, theirs = said.confusion or [], measured.confusion or []
    moved = sum(abs(a - b) for one, other in zip(ours, theirs, strict=False) for a, b in zip(one, other, strict=False))
    if len(ours) != len(theirs) or moved > 2 * max(1.0, TOLERANCE * measured.num_examples):
        return "its confusion matrix is not the one measured again"
    return ""
