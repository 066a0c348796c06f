"""The `fedstream` command line.

This package parses options and prints results; the work is done in the other packages. Every command accepts --json.
"""
