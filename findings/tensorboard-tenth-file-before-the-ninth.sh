#!/usr/bin/env bash
# TensorBoard 2.21.0: event files of one folder are read in the order of their
# names, compared as text. A name holds the second, the machine, the process and
# a count that runs through the whole process: writer 10 of a process comes
# before writer 9 when both were opened in the same second. A run that is
# resumed at once, in the same process, then reads backwards: the reader takes
# the resumed part first, and its points are dropped as if the first part had
# come later. Two other writers (8 and 9) read as expected.
#
# Seen:
# writers 8 and 9:  [(0, 1.0), (1, 1.0), (2, 2.0), (3, 2.0)]
# writers 9 and 10: [(0, 1.0), (1, 1.0), (2, 1.0), (3, 1.0)]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet tensorboard==2.21.0
cat > "$folder/order.py" <<'PY'
import sys
import time

from tensorboard.backend.event_processing.event_accumulator import (
    EventAccumulator,
)
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter


def write(folder, steps, value, resumed_at):
    writer = EventFileWriter(folder)
    log = SessionLog(status=SessionLog.START)
    writer.add_event(
        Event(wall_time=time.time(), step=resumed_at, session_log=log)
    )
    for step in steps:
        summary = Summary(value=[Summary.Value(tag="loss", simple_value=value)])
        writer.add_event(
            Event(wall_time=time.time(), step=step, summary=summary)
        )
    writer.close()


others = int(sys.argv[1])  # writers of other folders, before
for number in range(others):
    EventFileWriter(f"others-{others}-{number}").close()
time.sleep(1 - time.time() % 1)  # a second begins: both fall into it
write(f"run-{others}", range(4), 1.0, 0)
write(f"run-{others}", range(2, 4), 2.0, 2)
reader = EventAccumulator(f"run-{others}").Reload()
points = [(event.step, event.value) for event in reader.Scalars("loss")]
print(f"writers {others} and {others + 1}:", points)
PY
cd "$folder"
for others in 8 9; do venv/bin/python -W ignore order.py $others 2> log; done | tee seen
diff -b seen - <<'SEEN'
writers 8 and 9: [(0, 1.0), (1, 1.0), (2, 2.0), (3, 2.0)]
writers 9 and 10: [(0, 1.0), (1, 1.0), (2, 1.0), (3, 1.0)]
SEEN
