"""Use a published model: streaming inference, a KServe resource, and an entry in a model registry.

TensorFlow is used only through fedstream.model.
"""
