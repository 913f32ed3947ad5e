#!/usr/bin/env bash
# torch 2.13.0: torchrun's workers share the store of its rendezvous, and a
# restart keeps that store. So a worker of the second attempt can read what
# one of the first wrote under the same key. gloo's workers publish their
# addresses there, without the attempt in the key: after a restart a worker
# now and then connects to the address of a process that is dead, and
# init_process_group fails with "Gloo connectFullMesh failed ... Connection
# refused" (here in 4 of 7 restarts on busy cores, and in 0 of 12 with
# TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1). torch's issue 135712, of the same
# symptom, was closed in 2024 by a new store for each retry; with
# --standalone the store is the old one.
#
# Seen, by one worker that fails once:
#   shared by default:   attempt 0: mark False, attempt 1: mark True
#   sharing is disabled: attempt 0: mark False, attempt 1: mark False
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
cat > "$folder/mark.py" <<'PY'
import os

import torch.distributed as dist

store, rank, world_size = next(dist.rendezvous("env://"))
attempt = os.environ["TORCHELASTIC_RESTART_COUNT"]
print(f"attempt {attempt}: mark {store.check(['mark'])}", flush=True)
store.set("mark", attempt)
raise SystemExit(attempt == "0")  # the first attempt fails
PY

attempts() {
    TORCH_DISABLE_SHARE_RDZV_TCP_STORE=$1 "$folder/venv/bin/torchrun" \
        --standalone --nproc-per-node=1 --max-restarts=1 "$folder/mark.py" \
        2> "$folder/log" || { cat "$folder/log"; exit 1; }
}

shared=$(attempts 0)
disabled=$(attempts 1)
printf 'shared:\n%s\ndisabled:\n%s\n' "$shared" "$disabled"
[[ $shared == $'attempt 0: mark False\nattempt 1: mark True' ]] ||
    { echo "the behaviour has changed"; exit 1; }
[[ $disabled == $'attempt 0: mark False\nattempt 1: mark False' ]] ||
    { echo "the behaviour has changed"; exit 1; }
