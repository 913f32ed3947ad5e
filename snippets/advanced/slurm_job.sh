#!/bin/bash
# --8<-- [start:job]
#SBATCH --job-name=digits
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --time=01:00:00
#SBATCH --requeue

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
port=$((20000 + SLURM_JOB_ID % 10000))
export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK
srun torchrun --nnodes="$SLURM_JOB_NUM_NODES" --nproc-per-node=1 \
    --rdzv-id="$SLURM_JOB_ID" --rdzv-backend=c10d \
    --rdzv-endpoint="$head:$port" --max-restarts=3 \
    -m snippets.advanced.elastic_training "$HOME/runs/digits"
# --8<-- [end:job]
