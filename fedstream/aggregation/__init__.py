"""How updates become the next global model, stage by stage, in pure numpy without I/O, clock, Kafka or TensorFlow."""
