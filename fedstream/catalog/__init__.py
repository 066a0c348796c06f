"""Models in the store: those that were added, and the versions that were published."""
