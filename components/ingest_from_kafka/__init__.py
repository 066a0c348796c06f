"""ingest_from_kafka: Waits for a client's records, validates them, and fixes the slice it trains on."""
