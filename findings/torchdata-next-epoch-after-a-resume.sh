#!/usr/bin/env bash
# torchdata 0.11.0 with torch 2.13.0: a StatefulDataLoader that shuffles by a
# generator of its own, without workers, is resumed in the middle of an epoch.
# The rest of that epoch is right. The next epoch isn't: it has another order
# than in the run that was never interrupted. With two workers it has the same.
# So has it without workers if no generator is given, and the global seed is
# set before each start.
#
# Seen, epoch 2 unbroken and after a resume in epoch 1:
# no workers, generator: [1, 3, 5, 2, 4, 0] [3, 0, 5, 4, 2, 1]
# two workers, generator: [3, 2, 5, 1, 4, 0] [3, 2, 5, 1, 4, 0]
# no workers, global seed: [5, 3, 4, 2, 0, 1] [5, 3, 4, 2, 0, 1]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 torchdata==0.11.0
cat > "$folder/resume.py" <<'PY'
import warnings

import torch
from torchdata.stateful_dataloader import StatefulDataLoader

warnings.filterwarnings("ignore")  # one core, and a deprecation


def loader(workers, generator):
    """Six numbers in batches of two, as after a start of the program."""
    torch.manual_seed(0)
    own = torch.Generator().manual_seed(0) if generator else None
    return StatefulDataLoader(
        list(range(6)), 2, shuffle=True, num_workers=workers, generator=own
    )


def epoch(batches):
    """The order of an epoch, a list."""
    return torch.cat(list(batches)).tolist()


if __name__ == "__main__":
    for name, workers, generator, same in (
        ("no workers, generator", 0, True, False),
        ("two workers, generator", 2, True, True),
        ("no workers, global seed", 0, False, True),
    ):
        unbroken = loader(workers, generator)
        first, second = epoch(unbroken), epoch(unbroken)
        interrupted = loader(workers, generator)
        begun = next(iter(interrupted)).tolist()
        state = interrupted.state_dict()
        resumed = loader(workers, generator)
        resumed.load_state_dict(state)
        assert begun + epoch(resumed) == first, "the rest of the epoch"
        following = epoch(resumed)
        print(f"{name}: {second} {following}")
        assert (following == second) == same, "it changed"
PY
"$folder/venv/bin/python" "$folder/resume.py"
