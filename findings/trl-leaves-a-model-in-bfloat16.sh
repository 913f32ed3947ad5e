#!/usr/bin/env bash
# TRL 1.16.0 with accelerate 1.15.0: its configurations have bf16=True unless
# told otherwise, also with use_cpu=True. After train(), the model object that
# was handed over computes under bfloat16 autocast for good, also where it is
# called outside the trainer: it gives other logits than a fresh model with
# the same weights, though all weights and the logits are still float32. With
# bf16=False both give the same.
#
# Seen: weights and logits torch.float32; the trained object's logits are off
# from those of a fresh model by some 1e-3 of the largest by default, and by
# 0.0 with bf16=False
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 \
    transformers==5.24.0 accelerate==1.15.0 datasets==5.2.0 trl==1.16.0
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" - "$folder" <<'PY' 2>/dev/null
import sys

import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, TokenizersBackend
from trl import GRPOConfig, GRPOTrainer

words = Tokenizer(
    models.WordLevel({"end": 0, "one": 1, "two": 2}, unk_token="end")
)
words.pre_tokenizer = pre_tokenizers.Whitespace()
tokenizer = TokenizersBackend(
    tokenizer_object=words, eos_token="end", pad_token="end"
)
config = LlamaConfig(
    vocab_size=3,
    hidden_size=64,
    intermediate_size=64,
    num_hidden_layers=2,
    num_attention_heads=1,
    bos_token_id=None,
    eos_token_id=0,
    pad_token_id=0,
)
prompts = Dataset.from_dict({"prompt": ["one"] * 8})
ids = torch.tensor([[1, 2, 1, 1]])


def change(**settings):
    """How far the trained object is off a fresh model of its weights."""
    torch.manual_seed(0)
    model = LlamaForCausalLM(config)
    arguments = GRPOConfig(
        sys.argv[1],
        use_cpu=True,
        report_to="none",
        save_strategy="no",
        max_completion_length=4,
        max_steps=1,
        **settings,
    )
    GRPOTrainer(
        model,
        lambda completions, **_: [0.0] * len(completions),
        arguments,
        prompts,
        processing_class=tokenizer,
    ).train()
    fresh = LlamaForCausalLM(config)
    fresh.load_state_dict(model.state_dict())
    with torch.no_grad():
        after, right = (m.eval()(ids).logits for m in (model, fresh))
    dtypes = {p.dtype for p in model.parameters()} | {after.dtype}
    print("bf16", arguments.bf16, dtypes)
    assert dtypes == {torch.float32}, "the behaviour has changed"
    return ((after - right).abs().max() / right.abs().max()).item()


default, plain = change(), change(bf16=False)
print(f"off by default {default:.1e}, with bf16=False {plain:.1e}")
assert default > 1e-4 and plain == 0, "the behaviour has changed"
PY
