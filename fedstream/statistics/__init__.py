"""Federated statistics: exact sums and histograms that clients send, and what they say together. Pure."""
