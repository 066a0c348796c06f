"""Preprocessing: the same steps at every client, in the published model, and wherever a model is measured. Pure."""
