"""How updates become the next global model: pure numpy, stage by stage. No I/O, no clock, no Kafka, no TensorFlow."""
