"""Simulated federations: virtual clients, and attackers among them, in one process and without servers."""
