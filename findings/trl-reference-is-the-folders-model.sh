#!/usr/bin/env bash
# TRL 1.16.0 with transformers 5.24.0: GRPOTrainer and RLOOTrainer with
# beta > 0 measure KL against a reference model. Given a model object, they
# read the reference from the folder that the object was once loaded from
# (config._name_or_path), not from the object. A model that was changed in
# memory since, by fine-tuning or merging adapters, is pulled back towards
# what lies on the disk. DPOTrainer does the same if ref_model is left out.
# A model that came from no folder fails with an error of the hub's client
# about an empty repository name.
#
# Seen: largest weight of lm_head: given 0.000, reference 0.041 (all three)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 \
    transformers==5.24.0 accelerate==1.15.0 datasets==5.2.0 trl==1.16.0
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" - "$folder" <<'PY' 2>/dev/null
import sys
from pathlib import Path

import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, TokenizersBackend
from trl import (
    DPOConfig,
    DPOTrainer,
    GRPOConfig,
    GRPOTrainer,
    RLOOConfig,
    RLOOTrainer,
)

folder = Path(sys.argv[1])
words = Tokenizer(
    models.WordLevel({"end": 0, "one": 1, "two": 2}, unk_token="end")
)
words.pre_tokenizer = pre_tokenizers.Whitespace()
tokenizer = TokenizersBackend(
    tokenizer_object=words, eos_token="end", pad_token="end"
)
config = LlamaConfig(
    vocab_size=3,
    hidden_size=8,
    intermediate_size=8,
    num_hidden_layers=1,
    num_attention_heads=1,
    bos_token_id=None,
    eos_token_id=0,
    pad_token_id=0,
)
torch.manual_seed(0)
LlamaForCausalLM(config).save_pretrained(folder / "model")
prompts = Dataset.from_dict({"prompt": ["one"] * 8})
pairs = Dataset.from_dict(
    {"prompt": ["one"] * 8, "chosen": ["two"] * 8, "rejected": ["one"] * 8}
)
common = {"use_cpu": True, "report_to": "none"}


def reward(completions, **_):
    return [0.0] * len(completions)


def changed():
    """The model of the folder, changed in memory."""
    model = LlamaForCausalLM.from_pretrained(folder / "model")
    torch.nn.init.zeros_(model.lm_head.weight)
    return model


for name, make in (
    ("GRPO", lambda m: GRPOTrainer(
        m, reward, GRPOConfig(str(folder), beta=0.1, **common), prompts,
        processing_class=tokenizer,
    )),
    ("RLOO", lambda m: RLOOTrainer(
        m, reward, RLOOConfig(str(folder), beta=0.1, **common), prompts,
        processing_class=tokenizer,
    )),
    ("DPO", lambda m: DPOTrainer(
        m, args=DPOConfig(str(folder), **common), train_dataset=pairs,
        processing_class=tokenizer,
    )),
):
    model = changed()
    reference = make(model).ref_model
    given, assumed = (
        m.lm_head.weight.abs().max().item() for m in (model, reference)
    )
    print(f"{name}: largest weight given {given:.3f}, reference {assumed:.3f}")
    assert given == 0 and assumed > 0, "the behaviour has changed"

try:
    GRPOTrainer(
        LlamaForCausalLM(config),
        reward,
        GRPOConfig(str(folder), beta=0.1, **common),
        prompts,
        processing_class=tokenizer,
    )
except OSError as error:
    print("from no folder: OSError,", str(error)[:40])
else:
    raise SystemExit("the behaviour has changed: a reference was made")
PY
