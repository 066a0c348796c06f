"""The looping federated pipeline."""
