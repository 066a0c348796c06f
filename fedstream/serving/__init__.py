"""What becomes of a published model: streaming inference, a KServe resource, an entry in a model registry. TensorFlow stays in fedstream.model."""
