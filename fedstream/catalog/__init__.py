"""The models in the store: the files that were added, and the versions that were published."""
