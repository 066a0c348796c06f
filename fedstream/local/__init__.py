"""The embedded platform: a real Kafka and a real S3 store, which run as child processes on the loopback interface."""
