"""The names under which Kafka-ML's scripts import its federated sinks."""
