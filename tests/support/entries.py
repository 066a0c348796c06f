"""A client's entry in a commit, of which a test needs a few fields."""

from fedstream.record.commit import ClientEntry


def entry_of(client, accepted, reason="", num_examples=0):
    """Return an entry that names no object."""
    return ClientEntry(
        client=client,
        accepted=accepted,
        reason=reason,
        num_examples=num_examples,
        update_digest=None,
        manifest_digest=None,
        slice_digest=None,
        ranges=[],
        incoming=None,
        trained=None,
    )
