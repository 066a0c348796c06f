"""Kafka side: announcements, offsets, codecs, the reader of slices, and the data owner's sink. Knows nothing of the object store."""
