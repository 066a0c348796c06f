"""Run the command line as `python -m fedstream.cli`."""

from fedstream.cli.app import main

main()
