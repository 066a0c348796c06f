"""The ground floor: what is on record of a run, and the pure rules about it. Knows no Kafka, no store, no TensorFlow."""
