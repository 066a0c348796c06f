"""`python -m fedstream.cli`."""

from fedstream.cli.app import main

main()
