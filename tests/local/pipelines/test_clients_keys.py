"""Under kfp.local secrets are not used, but the compiled pipeline hands their names on as it does in a cluster."""

import json
import re
import subprocess
import sys

from support.data import blobs, send_clients

from fedstream.stream.send import send_dataset


def outputs(log, task):
    """Return the name of the secret that each execution of a task handed on."""
    lines = re.sub(r"\x1b\[[0-9;]*m", "", log)
    return re.findall(rf"Task '{task}' outputs:(?:\n(?!.*Task ').*)*?\n.*store_secret: '([^']*)'", lines)


def test_the_name_of_a_key_reaches_the_tasks_of_each_client(platform, platform_env, home, topic):
    clients = send_clients(platform.kafka)
    send_dataset(platform.kafka, topic, topic, *blobs(9, 30))
    values = {
        "run": "keys",
        "model": "builtin:digits-mlp",
        "clients": clients,
        "rounds": 1,
        "evaluation_topic": topic,
        "batch_size": 10,
    }
    secrets = {
        "store_secret": "run-key",
        "client_store_secret": "clients-key",
        "sites": {clients[1]: {"store_secret": "key-of-second"}},
    }
    command = [sys.executable, "-m", "fedstream.pipelines.run_locally", "result.json"]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as run:
        run.stdin.write(json.dumps(values | secrets) + "\n")
        run.stdin.flush()
        log = run.stdout.read()
    assert json.loads((home / "result.json").read_text()) == {"version": 1}, log
    assert outputs(log, "open-round")[0] == "clients-key"
    assert sorted(outputs(log, "ingest-from-kafka")) == ["clients-key", "key-of-second"]
