#!/usr/bin/env bash
# Optuna 5.0.0, SQLite storage: a process that is killed leaves its trial in
# state RUNNING. Since 5.0 the default sampler takes running trials into
# account, as if they had done badly (constant_liar=True, new default), so the
# trial that nobody runs any more changes every suggestion of a resumed study,
# for good. In 4.9.0 the same file gives the same suggestions with and without
# it. Storage with a heartbeat marks it FAIL when the study is resumed.
#
# Seen, the next x with the killed trial and without it:
# 4.9.0: 1.455 1.455
# 5.0.0: 1.410 1.455
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/search.py" <<'PY'
import multiprocessing
import os
import signal
import sys

import optuna

optuna.logging.set_verbosity(optuna.logging.ERROR)


def search(url, n_trials, dies_at):
    """Twelve trials, and the death of the process in the thirteenth."""

    def objective(trial):
        x = trial.suggest_float("x", -3, 3)
        if trial.number == dies_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return (x - 1) ** 2

    sampler = optuna.samplers.TPESampler(seed=0)
    study = optuna.create_study(study_name="s", storage=url, sampler=sampler)
    study.optimize(objective, n_trials=n_trials)


def following(url):
    """The states, and what a fresh sampler suggests next."""
    study = optuna.load_study(
        study_name="s",
        storage=url,
        sampler=optuna.samplers.TPESampler(seed=1),
    )
    states = [trial.state.name for trial in study.trials]
    return states, study.ask().suggest_float("x", -3, 3)


if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    found = {}
    for name, n_trials in (("killed", 13), ("whole", 12)):
        url = f"sqlite:///{sys.argv[1]}/{optuna.__version__}-{name}.db"
        process = context.Process(target=search, args=(url, n_trials, 12))
        process.start()
        process.join()
        found[name] = following(url)
    assert found["killed"][0] == ["COMPLETE"] * 12 + ["RUNNING"], found
    assert found["whole"][0] == ["COMPLETE"] * 12, found
    killed, whole = found["killed"][1], found["whole"][1]
    print(f"{optuna.__version__}: {killed:.3f} {whole:.3f}")
    new = optuna.__version__ == "5.0.0"
    assert (abs(killed - whole) > 1e-6) == new, "it changed"
PY
for version in 4.9.0 5.0.0; do
  python3 -m venv "$folder/$version"
  "$folder/$version/bin/pip" install --quiet "optuna==$version" \
      sqlalchemy==2.1.9 alembic==1.20.1 numpy==2.4.6
  "$folder/$version/bin/python" -W error::UserWarning \
      "$folder/search.py" "$folder"
done
