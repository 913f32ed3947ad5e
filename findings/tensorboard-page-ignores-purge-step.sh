#!/usr/bin/env bash
# TensorBoard 2.21.0: a run that is resumed says with a SessionLog START event
# (PyTorch's `SummaryWriter(purge_step=...)`) from which step on its earlier
# points no longer count. TensorBoard's Python reader, EventAccumulator, drops
# them in all curves. The page, with the fast data server that is the default,
# doesn't read that event: it drops earlier points only of a curve that is
# itself written again from an earlier step. A curve that is logged rarely, and
# not yet again, keeps the point of the run that was killed. (With
# --load_fast=false the page drops nothing at all.)
#
# Seen:
# Python reader: loss [0, 1, 2, 3, 4, 5, 6], accuracy [0]
# page: loss [0, 1, 2, 3, 4, 5, 6], accuracy [0, 8]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet tensorboard==2.21.0
cat > "$folder/resumed.py" <<'PY'
import json
import subprocess
import sys
import time
import urllib.request

from tensorboard.backend.event_processing.event_accumulator import (
    EventAccumulator,
)
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter


def write(steps, rare, suffix, resumed_at=None):
    writer = EventFileWriter("runs/one", filename_suffix=suffix)
    if resumed_at is not None:
        log = SessionLog(status=SessionLog.START)
        now = time.time()
        writer.add_event(Event(wall_time=now, step=resumed_at, session_log=log))
    for step in steps:
        for tag in ["loss"] + ["accuracy"] * (step in rare):
            value = Summary.Value(tag=tag, simple_value=1.0)
            summary = Summary(value=[value])
            writer.add_event(
                Event(wall_time=time.time(), step=step, summary=summary)
            )
    writer.close()


write(range(10), (0, 8), ".1")
time.sleep(1.1)  # files are read in the order of their names, the time first
write(range(5, 7), (), ".2", resumed_at=5)

tags = "loss", "accuracy"
reader = EventAccumulator("runs/one").Reload()
seen = {tag: [point.step for point in reader.Scalars(tag)] for tag in tags}
print("Python reader: loss {loss}, accuracy {accuracy}".format(**seen))

command = [sys.executable, "-m", "tensorboard.main", "--port=0", "--logdir=runs"]
board = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
told = next(line for line in board.stderr if "http://" in line)
[address] = [word for word in told.split() if word.startswith("http://")]


def ask(question):
    with urllib.request.urlopen(
        f"{address}data/plugin/scalars/{question}"
    ) as answer:
        return json.load(answer)


for _ in range(100):  # it is still reading
    time.sleep(0.3)
    if "one" in ask("tags") and len(ask("scalars?tag=loss&run=one")) == 7:
        break
page = {
    tag: [point[1] for point in ask(f"scalars?tag={tag}&run=one")]
    for tag in tags
}
board.terminate()
print("page: loss {loss}, accuracy {accuracy}".format(**page))
assert seen == {"loss": [*range(7)], "accuracy": [0]}, seen
assert page == {"loss": [*range(7)], "accuracy": [0, 8]}, page
PY
cd "$folder" && venv/bin/python -W ignore resumed.py
