"""Scripts that run in the environment of the other frameworks, `.venv-peers`; they import nothing of fedstream."""
