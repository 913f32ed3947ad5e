# --8<-- [start:workers]
torchrun --standalone --nproc-per-node=2 -m snippets.advanced.parallel_worker
# --8<-- [end:workers]

# --8<-- [start:killed]
rm -rf runs/killed && mkdir -p runs
export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
torchrun --standalone --nproc-per-node=2 --max-restarts=1 \
    -m snippets.advanced.elastic_training runs/killed 17 2> runs/killed.log
# --8<-- [end:killed]

# --8<-- [start:agents]
find_port='import socket; s = socket.socket(); s.bind(("", 0)); print(s.getsockname()[1])'
port=$(python -c "$find_port")
agent() {
    torchrun --nnodes=2 --nproc-per-node=1 --rdzv-id=lesson \
        --rdzv-backend=c10d --rdzv-endpoint="localhost:$port" \
        -m snippets.advanced.elastic_training runs/two-agents 2>> runs/agents.log
}
rm -rf runs/two-agents
agent & first=$!
agent & second=$!
wait $first
wait $second
# --8<-- [end:agents]
