"""The lowest layer: the record of a run and the pure rules about it. Does not know Kafka, the store or TensorFlow."""
