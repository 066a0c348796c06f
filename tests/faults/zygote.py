"""Run federated runs in forked children of a process that has imported TensorFlow once.

Several runs go on at a time; each dies or waits where it is told to.

Standard input has one JSON request a line: {"id", "env", "spec", "at", "log"}, or, with "infer" and "commits", the
words of `fedstream infer`, which dies instead of committing for the last time. "at" is null or
{"point", "what", "do", "flag"}: the point is "before" or "after" writing a key that matches the pattern "what", or
while "training" a client; "do" is "die" or "wait"; "flag" is the file that a waiting run makes, and waits to see
removed.
With the point "moment", "what" is {"store": N}, {"training": N} or {"seconds": S}: the run dies at the Nth call of the
store, at the Nth step of its trainings, or after S seconds.

Standard output has one JSON answer a line: {"id", "signal", and "version", "exit" or "error"}; after "moment" also
"moments", which says how many there were.
"""

import functools
import json
import os
import re
import selectors
import signal
import sys
import threading
import time
from pathlib import Path

from fedstream.cli.app import main as main_of_fedstream
from fedstream.local.inprocess import run_inprocess
from fedstream.model import training
from fedstream.model._tensorflow import _import
from fedstream.serving.inference import Inference
from fedstream.steps import train
from fedstream.store.objects import ObjectStore

WAIT_S = 60.0
MOMENTS = {"store": 0, "training": 0}


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def wait(flag):
    flag.touch()
    end = time.monotonic() + WAIT_S
    while flag.exists() and time.monotonic() < end:
        time.sleep(0.02)


def arm(at):
    if at["point"] == "moment":
        arm_moment(at["what"])
        return
    act = die if at["do"] == "die" else lambda: wait(Path(at["flag"]))
    if at["point"] == "training":
        arm_training(at["what"], act)
        return
    real_put = ObjectStore.put_if_match

    def put_if_match(self, key, data, etag):
        hit = re.search(at["what"], key)
        if hit and at["point"] == "before":
            act()
        written = real_put(self, key, data, etag)
        if hit and at["point"] == "after":
            act()
        return written

    ObjectStore.put_if_match = put_if_match


def arm_training(client, act):
    """Act within a client's training, once some optimizer steps are done."""
    real_read, real_check, reading = train._read, training.Progress.check, []

    def read(context, state, document, *rest):
        reading[:] = [document.client]
        return real_read(context, state, document, *rest)

    def check(self, batch):
        if reading == [client]:
            act()
        real_check(self, batch)

    train._read, training.Progress.check = read, check


def arm_moment(what):
    """Count the moments at which a run can be killed, before and after each call of the store and at each training
    step, and die at one.
    """
    real_try, real_check = ObjectStore._try, training.Progress.check

    def passes(kind):
        MOMENTS[kind] += 1
        if MOMENTS[kind] == what.get(kind):
            die()

    def attempt(self, call):
        passes("store")
        result = real_try(self, call)
        passes("store")
        return result

    def check(self, batch):
        passes("training")
        real_check(self, batch)

    ObjectStore._try, training.Progress.check = attempt, check
    if "seconds" in what:
        clock = threading.Timer(what["seconds"], die)
        clock.daemon = True
        clock.start()


def infer(words, commits):
    real_commit, left = Inference._commit, [commits]

    def commit(self, reader, batch):
        left[0] -= 1
        if not left[0]:
            die()
        real_commit(self, reader, batch)

    Inference._commit = commit
    sys.argv = ["fedstream", *words]
    try:
        main_of_fedstream()
    except SystemExit as ended:
        return {"exit": ended.code or 0}


def child(request, pipe):
    os.environ.update(request["env"])
    sys.path += filter(None, os.environ.get("FEDSTREAM_TEST_PATH", "").split(os.pathsep))
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    if request.get("at"):
        arm(request["at"])
    if patience_s := os.environ.get("FEDSTREAM_TEST_PATIENCE_S"):
        ObjectStore.__init__ = functools.partialmethod(ObjectStore.__init__, patience_s=float(patience_s))
    try:
        answer = (
            infer(request["infer"], request["commits"])
            if "infer" in request
            else {"version": run_inprocess(request["spec"])}
        )
    except Exception as error:  # noqa: BLE001 - the answer is the test's to judge
        answer = {"error": f"{type(error).__name__}: {error}"}
    if any(MOMENTS.values()):
        answer["moments"] = MOMENTS
    os.write(pipe, json.dumps(answer).encode())
    os._exit(0)


def fork(request):
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(reader)
        child(request, writer)
    os.close(writer)
    return reader, pid


def answer(request, reader, pid):
    with os.fdopen(reader) as said:
        text = said.read()
    _, status = os.waitpid(pid, 0)
    ended = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    print(json.dumps({"id": request["id"], "signal": ended, **json.loads(text or "{}")}), flush=True)


def main():
    _import()
    print(json.dumps({"id": 0}), flush=True)
    with selectors.DefaultSelector() as selector:
        selector.register(0, selectors.EVENT_READ)
        while True:
            for ready, _ in selector.select():
                if ready.data:
                    selector.unregister(ready.fd)
                    answer(*ready.data)
                elif line := sys.stdin.buffer.raw.readline():
                    request = json.loads(line)
                    reader, pid = fork(request)
                    selector.register(reader, selectors.EVENT_READ, (request, reader, pid))
                else:
                    return


if __name__ == "__main__":
    main()
