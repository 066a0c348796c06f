"""The object store: write-once objects, weights, and the ledger of commits."""
