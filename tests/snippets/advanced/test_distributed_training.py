"""The ring's arithmetic, and job files that run what they say."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st

from snippets.advanced.distributed_training import bytes_held, ring_all_reduce

ROOT = Path(__file__).parents[3]
JOBS = ROOT / "snippets" / "advanced"


@given(st.integers(1, 7), st.integers(1, 40), st.integers(0, 99))
def test_a_ring_sums_for_everybody(n, size, seed):
    """Each worker ends with the sum, and the given arrays stay."""
    arrays = np.random.default_rng(seed).normal(size=(n, size))
    before = arrays.copy()
    found, sent = ring_all_reduce(arrays)
    assert found.shape == (n, size)
    assert sent.shape == (n,)
    np.testing.assert_allclose(found, np.tile(arrays.sum(axis=0), (n, 1)))
    np.testing.assert_array_equal(arrays, before)


@given(st.integers(1, 9), st.integers(1, 9))
def test_a_worker_sends_less_than_two_messages(n, part):
    """2 (n - 1) / n of a message whose size n divides, for each worker."""
    _, sent = ring_all_reduce(np.ones((n, n * part)))
    assert sent.tolist() == [2 * (n - 1) * part] * n


@given(st.integers(1, 64))
def test_each_stage_of_zero_holds_less(n):
    """One rank holds all 16 bytes; stage 3 divides them by n."""
    sizes = list(bytes_held(n).values())
    assert sizes[0] == 16
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[1:] == pytest.approx([8 + 8 / n, 4 + 12 / n, 16 / n])


FAKES = {
    "scontrol": "echo localhost\necho elsewhere\n",
    # as SLURM does: one task on each of two nodes, at the same time
    "srun": '"$@" & first=$!\n"$@" & second=$!\nwait $first\nwait $second\n',
}


def environment(folder, **more):
    """That of a job, with the programs of this Python."""
    path = f"{folder}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {
        **os.environ,
        "PATH": path,
        "PYTHONPATH": str(ROOT),
        "HOME": str(folder),
        **more,
    }


def run(command, folder, **more):
    return subprocess.run(
        command,
        cwd=folder,
        env=environment(folder, **more),
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_slurm_job_runs_as_one_training(tmp_path):
    """Two tasks meet, and write one checkpoint, of the last step."""
    for name, body in FAKES.items():
        (tmp_path / name).write_text(f"#!/bin/bash\nset -eu\n{body}")
        (tmp_path / name).chmod(0o755)
    done = run(
        ["bash", "-eu", JOBS / "slurm_job.sh"],
        tmp_path,
        SLURM_JOB_ID=str(os.getpid()),
        SLURM_JOB_NUM_NODES="2",
        SLURM_CPUS_PER_TASK="8",
        SLURM_JOB_NODELIST="node[1-2]",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("attempt 0, from step 0") == 1
    end = torch.load(tmp_path / "runs/digits/checkpoint.pt")
    assert end["step"] == 20


def test_the_slurm_job_asks_for_what_it_uses():
    """Its options are sbatch's; one agent a node starts the workers."""
    lines = (JOBS / "slurm_job.sh").read_text().splitlines()
    assert lines[0] == "#!/bin/bash"
    asked = [line[8:] for line in lines if line.startswith("#SBATCH ")]
    options = dict(f"{option}=".split("=")[:2] for option in asked)
    assert options == {
        "--job-name": "digits",
        "--nodes": "2",
        "--ntasks-per-node": "1",
        "--cpus-per-task": "8",
        "--time": "01:00:00",
        "--requeue": "",
    }
    # sbatch reads no option that stands behind a command
    commands = [i for i, x in enumerate(lines) if x and x[0] != "#"]
    assert lines.index(f"#SBATCH {asked[-1]}") < commands[0]


def train_job():
    return yaml.safe_load((JOBS / "train_job.yaml").read_text())


def test_the_train_job_fits_kubeflows_schema():
    """Kubeflow's own models read it, and lose nothing of it."""
    from kubeflow_trainer_api.models import TrainerV1alpha1TrainJob

    job = train_job()
    read = TrainerV1alpha1TrainJob.from_dict(job)
    assert read.to_dict() == job
    assert read.spec.trainer.num_nodes == 2


@pytest.mark.parametrize(
    "spoil",
    [
        lambda spec: spec["trainer"].update(nodes=2),
        lambda spec: spec["trainer"].update(numNodes="two"),
        lambda spec: spec.pop("runtimeRef"),
    ],
)
def test_a_mistake_in_a_train_job_is_seen(spoil):
    """A misspelled key, a wrong type and a missing key don't pass."""
    from kubeflow_trainer_api.models import TrainerV1alpha1TrainJob
    from pydantic import ValidationError

    job = train_job()
    spoil(job["spec"])
    try:
        read = TrainerV1alpha1TrainJob.from_dict(job)
    except ValidationError:
        return
    assert read.to_dict() != job


def test_the_train_jobs_command_trains(tmp_path):
    """torchrun takes its options from PET_..., which the runtime sets."""
    trainer = train_job()["spec"]["trainer"]
    done = run(
        [*trainer["command"], *trainer["args"][:-1], str(tmp_path / "digits")],
        tmp_path,
        PET_NNODES="1",
        PET_NPROC_PER_NODE=str(trainer["numProcPerNode"] * 2),
        PET_STANDALONE="1",
    )
    assert done.returncode == 0, done.stderr
    assert torch.load(tmp_path / "digits/checkpoint.pt")["step"] == 20


MARK = """
import os

import torch.distributed as dist

store, _, _ = next(dist.rendezvous("env://"))
attempt = os.environ["TORCHELASTIC_RESTART_COUNT"]
print(attempt, store.check(["mark"]), flush=True)
store.set("mark", attempt)
raise SystemExit(attempt == "0")
"""


@pytest.mark.parametrize(("disabled", "seen"), [("0", True), ("1", False)])
def test_a_restart_sees_the_store_of_the_past(disabled, seen, tmp_path):
    """Unless sharing is disabled, attempt 1 finds attempt 0's (2.13)."""
    (tmp_path / "mark.py").write_text(MARK)
    options = ["--standalone", "--nproc-per-node=1", "--max-restarts=1"]
    done = run(
        ["torchrun", *options, "mark.py"],
        tmp_path,
        TORCH_DISABLE_SHARE_RDZV_TCP_STORE=disabled,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:2] == ["0 False", f"1 {seen}"]


NETWORK = """
ip netns add $1a
ip netns add $1b
ip link add $1x type veth peer name $1y
ip link set $1x netns $1a
ip link set $1y netns $1b
ip -n $1a addr add 10.9.8.1/24 dev $1x
ip -n $1b addr add 10.9.8.2/24 dev $1y
for end in "$1a $1x" "$1b $1y"; do
    set -- $end
    ip -n $1 link set lo up
    ip -n $1 link set $2 up
done
"""


@pytest.fixture
def two_machines():
    """Two network namespaces that are joined by a cable of their own."""
    if shutil.which("ip") is None:
        pytest.skip("no program ip here")
    name = f"h{os.getpid() % 10000}"
    made = subprocess.run(
        ["bash", "-euc", NETWORK, "bash", name], capture_output=True, text=True
    )
    try:
        if made.returncode:
            pytest.skip(f"no network namespaces here: {made.stderr.strip()}")
        yield f"{name}a", f"{name}b"
    finally:
        for end in "ab":
            subprocess.run(
                ["ip", "netns", "delete", f"{name}{end}"], capture_output=True
            )


def test_two_machines_meet_over_a_network(two_machines, tmp_path):
    """Two agents that share nothing but a cable and a folder train."""
    agents = []
    for number, machine in enumerate(two_machines):
        command = [
            *("ip", "netns", "exec", machine, "torchrun", "--nnodes=2"),
            *("--nproc-per-node=1", "--rdzv-id=lesson"),
            *("--rdzv-backend=c10d", "--rdzv-endpoint=10.9.8.1:29400"),
            f"--local-addr=10.9.8.{number + 1}",
            f"--rdzv-conf=is_host={1 - number}",
            *("-m", "snippets.advanced.elastic_training", "digits"),
        ]
        more = {
            "GLOO_SOCKET_IFNAME": f"{machine[:-1]}{'xy'[number]}",
            "RES_OPTIONS": "timeout:1 attempts:1",  # no name server there
        }
        with open(tmp_path / f"{number}.log", "w") as log:
            agents.append(
                subprocess.Popen(
                    command,
                    cwd=tmp_path,
                    env=environment(tmp_path, **more),
                    stdout=log,
                    stderr=log,
                )
            )
    codes = [agent.wait(timeout=120) for agent in agents]
    logs = [(tmp_path / f"{number}.log").read_text() for number in (0, 1)]
    assert codes == [0, 0], logs
    assert torch.load(tmp_path / "digits/checkpoint.pt")["step"] == 20
