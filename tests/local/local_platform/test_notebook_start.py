"""The first line of every notebook."""

import os
import subprocess
import sys

from fedstream.local import notebook


def test_servers_that_the_environment_names_are_used(platform_env):
    before = dict(os.environ)
    notebook.start()
    assert dict(os.environ) == before


def test_steps_say_nothing_but_errors(platform_env):
    code = "\n".join(
        [
            "from fedstream import steps",
            "from fedstream.local import notebook",
            "notebook.start()",
            "from fedstream.store.state import log",
            "log.info('quiet')",
            "steps.publish('none', 1)",
        ]
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert said.returncode == 1
    assert said.stdout == ""
    assert "quiet" not in said.stderr
    assert "ERROR:fedstream:step failed: publish: there is no run 'none'" in said.stderr
