"""The `fedstream` command. Each command does its work elsewhere; here are only its words. Every command also speaks --json."""
