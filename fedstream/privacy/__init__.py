"""Differential privacy: noise from a secret, and what it costs. Pure, except for reading the secret."""
