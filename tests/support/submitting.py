"""`fedstream submit` against the fake of Kubeflow's API: its command line, and what an error of it must look like."""

from __future__ import annotations

RUN = ["submit", "--name", "first", "--model", "builtin:digits-mlp", "--rounds", "3"]
FINISHED = 4
"""Rounds of RUN with the one that only measures."""

UNKNOWN = dict.fromkeys(("model", "version", "reason", "rounds", "round", "metrics", "weights_digest"))
"""What --json says of a run whose store cannot be read."""


def check_error(result, *texts, code=1):
    exit_code, out, err = result
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert exit_code == code, err
    assert out == ""
    assert "Traceback" not in err
    assert len(errors) == 1
    assert err.splitlines()[-1] == errors[0]
    for text in texts:
        assert text in errors[0]
