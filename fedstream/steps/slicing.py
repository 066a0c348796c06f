"""The document of a slice, as the records of a client determine it."""

from __future__ import annotations

from fedstream.model.examples import Examples
from fedstream.record.documents import SliceDoc, UnlabelledRecords, slice_ranges
from fedstream.record.run import MatchedClient
from fedstream.record.spec import RunSpec
from fedstream.statistics.measure import count_classes
from fedstream.steps.slices import SliceRecords
from fedstream.stream.summary import summary_of


def describe_slice(spec: RunSpec, client: MatchedClient, read: SliceRecords, examples: Examples) -> SliceDoc:
    """Return the document of a slice: the client's plan, and what was read from Kafka.

    Args:
        spec: The run.
        client: The client as planned.
        read: The records that were read.
        examples: The examples that they become; the labels are counted.
    """
    records, others = read
    return SliceDoc(
        client=client.client,
        bootstrap_servers=client.bootstrap_servers,
        ranges=slice_ranges(records.ranges),
        gaps=slice_ranges(records.gaps),
        skipped=slice_ranges(records.skipped),
        records=len(records),
        input_format=client.input_format,
        input_config=client.input_config,
        class_counts=count_classes(examples.y),
        digest=records.digest,
        unlabelled=UnlabelledRecords(
            ranges=slice_ranges(others.ranges),
            gaps=slice_ranges(others.gaps),
            records=len(others),
            digest=others.digest,
        )
        if others
        else None,
        summary=summary_of(examples.x) if spec.feed.live and not spec.privacy.where else None,
    )
