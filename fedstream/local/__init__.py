"""The embedded platform: a real Kafka and a real S3 store as child processes on loopback. Knows nothing of runs, models or rounds."""
