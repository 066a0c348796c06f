"""Benchmarks, each of which describes its method. They are not tests: they print tables and compare within one run."""
