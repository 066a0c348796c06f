"""Read a run's records again from the brokers, and evaluate its models again."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from fedstream.audit.evidence import shortened
from fedstream.deadline import Deadline
from fedstream.errors import CorruptObject, FedstreamError
from fedstream.record.commit import Commit
from fedstream.record.documents import Metrics, SliceDoc, offsets_of
from fedstream.record.offsets import OffsetRange, format_ranges
from fedstream.record.run import MatchedClient
from fedstream.record.statistics import ClientStatistics
from fedstream.record.summary import same_summary
from fedstream.steps.context import Context
from fedstream.steps.evaluation import measure_left_out, measure_on, read_evaluation
from fedstream.steps.feeding import why_not_fed
from fedstream.steps.slices import SliceRecords, examples_of, read_slice
from fedstream.steps.slicing import describe_slice
from fedstream.steps.statistics import describe_statistics
from fedstream.steps.streamed import describe_stream, streaming_limit
from fedstream.store.state import RunState
from fedstream.stream.bounds import SliceTooLarge, shown
from fedstream.stream.broker import Brokers
from fedstream.stream.reader import RawRecords

TOLERANCE = 1e-3
"""Relative tolerance for metrics measured on another processor; for a confusion matrix, a fraction of the records."""


class Streams:
    """The records of a run on its brokers, for an audit.

    Args:
        state: The run.
        brokers: Brokers that keep its records.
        deadline_s: Time limit in seconds for one slice, and for the evaluation topic.

    Attributes:
        records: Number of records that were read again.
    """

    def __init__(self, state: RunState, brokers: Brokers, deadline_s: float) -> None:
        self.state, self.brokers, self.deadline_s, self.records = state, brokers, deadline_s, 0
        self._again: dict[tuple[str, str, str], SliceDoc | str] = {}
        self._context = Context(state.store, brokers)

    def check_slice(self, round: int, client: str, document: SliceDoc) -> str:
        """Return how a slice of a round differs from its client's records; empty if it matches.

        The same records are read only once. Offsets that the run's feed does not give are not read, because the judge
        rejects their slice.
        """
        try:
            if why_not_fed(self.state, round, document, client):
                return ""
        except CorruptObject:
            return ""  # the selection or an earlier commit, which is named for that
        slice = (client, format_ranges(document.fed), format_ranges(document.unlabelled_fed))
        if slice not in self._again:
            self._again[slice] = self._read(self.state.record.client(client), document)
        again = self._again[slice]
        if isinstance(again, str):
            return again
        for name in ("ranges", "gaps", "skipped"):
            if (said := getattr(document, name)) != (found := getattr(again, name)):
                return (
                    f"its {name} are {shown(offsets_of(said)) or 'none'}, but reading again gives "
                    f"{shown(offsets_of(found)) or 'none'}"
                )
        if document.digest != again.digest:
            return f"the records of {again.ranges_text} have digest {again.digest}, expected {document.digest}"
        if document.unlabelled and again.unlabelled and document.unlabelled.digest != again.unlabelled.digest:
            return (
                f"the unlabelled records of {slice[2]} have digest {again.unlabelled.digest}, "
                f"expected {document.unlabelled.digest}"
            )
        if document.class_counts != again.class_counts:
            return (
                f"its class_counts are {_counts(document)}, but the records of {again.ranges_text} have "
                f"{_counts(again)}"
            )
        return "" if same_summary(document.summary, again.summary) else "its summary is not that of its records"

    def check_statistics(self, said: ClientStatistics) -> str:
        """Return how a client's contribution to the statistics differs from its records; empty if it matches."""
        client = self.state.record.client(said.client)
        noise = self.state.record.spec.statistics.noise_multiplier  # which only the client's secret makes again
        fields = ("slice", "records") if noise else tuple(ClientStatistics.model_fields)
        try:
            again = describe_statistics(self.state.record, client, self._records(client, said.slice.fed).labelled)
        except FedstreamError as error:
            return f"its records cannot be read again: {error}"
        different = [name for name in fields if getattr(said, name) != getattr(again, name)]
        return f"its {different[0]} differ from what its records say" if different else ""

    def check_measurement(self, commit: Commit) -> str:
        """Return what is wrong with the metrics in a commit, measured on the evaluation topic; empty if nothing is."""
        evaluation = self.state.record.evaluation
        if evaluation is None or commit.metrics is None:
            return ""
        try:
            records = self._evaluation
            if records.digest != commit.evaluation_digest:
                return (
                    f"the records of the evaluation topic have digest {records.digest}, "
                    f"expected {commit.evaluation_digest}"
                )
            measured = measure_on(self._context, self.state, commit.round, commit.weights_digest, records)
            left_out = measure_left_out(self._context, self.state, commit, records) if commit.left_out else {}
        except FedstreamError as error:
            return f"its model cannot be evaluated again: {error}"
        return why_different(commit.metrics, measured) or _why_other_left_out(commit, left_out)

    @cached_property
    def _evaluation(self) -> RawRecords:
        evaluation: MatchedClient | None = self.state.record.evaluation
        assert evaluation is not None
        self.records += evaluation.records
        return read_evaluation(self.brokers.at(""), evaluation, Deadline.after(self.deadline_s))

    def _records(
        self,
        client: MatchedClient,
        ranges: list[OffsetRange],
        unlabelled: Sequence[OffsetRange] = (),
        limit: int | None = None,
    ) -> SliceRecords:
        broker, deadline = self.brokers.at(client.bootstrap_servers), Deadline.after(self.deadline_s)
        read = read_slice(broker, self.state.record, client, ranges, unlabelled, deadline, limit)
        self.records += sum(len(records) for records in read if records)
        return read

    def _read(self, client: MatchedClient, document: SliceDoc) -> SliceDoc | str:
        """Return the slice document of the current records, or why there is none."""
        try:
            limit = streaming_limit(self.state.record, client)
            read = self._records(client, document.fed, document.unlabelled_fed, limit)
            return describe_slice(self.state.record.spec, client, read, examples_of(self.state.record, client, read))
        except SliceTooLarge:
            return self._read_stream(client, document)
        except FedstreamError as error:
            return f"its records cannot be read again: {error}"

    def _read_stream(self, client: MatchedClient, document: SliceDoc) -> SliceDoc | str:
        broker, deadline = self.brokers.at(client.bootstrap_servers), Deadline.after(self.deadline_s)
        try:
            found, _ = describe_stream(broker, self.state.record, client, document.fed, deadline)
        except FedstreamError as error:
            return f"its records cannot be read again: {error}"
        self.records += found.records
        return found


def _counts(document: SliceDoc) -> str:
    return shortened(", ".join(f"{label}: {count}" for label, count in sorted(document.class_counts.items())) or "none")


def _why_other_left_out(commit: Commit, left_out: dict[str, float]) -> str:
    if commit.left_out.keys() != left_out.keys():
        return (
            f"it says what the model is without {shortened(', '.join(sorted(commit.left_out)))}, "
            f"but that can be measured without {shortened(', '.join(sorted(left_out)) or 'none of them')}"
        )
    for client, value in left_out.items():
        if _apart(commit.left_out[client], value):
            return f"without {client}, its model has {commit.left_out[client]:g}, but measured again it has {value:g}"
    return ""


def _apart(said: float, measured: float) -> bool:
    return not abs(said - measured) <= TOLERANCE * max(1.0, abs(measured))


def why_different(said: Metrics, measured: Metrics) -> str:
    """Return how two measurements of the same model and records differ; empty if they differ within the tolerance."""
    if said.num_examples != measured.num_examples:
        return f"it was measured on {said.num_examples} records, but measured again on {measured.num_examples}"
    if said.values.keys() != measured.values.keys():
        return (
            f"it has metrics {', '.join(sorted(said.values))}, but measured again it has "
            f"{', '.join(sorted(measured.values))}"
        )
    for name, value in sorted(measured.values.items()):
        if _apart(said.values[name], value):
            return f"its {name} is {said.values[name]:g}, but measured again it is {value:g}"
    ours, theirs = said.confusion or [], measured.confusion or []
    moved = sum(abs(a - b) for one, other in zip(ours, theirs, strict=False) for a, b in zip(one, other, strict=False))
    if len(ours) != len(theirs) or moved > 2 * max(1.0, TOLERANCE * measured.num_examples):
        return "its confusion matrix differs from the one measured again"
    return ""
