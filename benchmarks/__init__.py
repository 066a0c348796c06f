"""Figures, each with how it was measured. Not tests: they print tables, and compare within one run."""
