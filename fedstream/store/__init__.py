"""Object side: write-once objects, weights, and the ledger of commits."""
