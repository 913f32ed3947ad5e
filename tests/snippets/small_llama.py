"""A language model that tests can run many times."""

import torch
from transformers import LlamaConfig, LlamaForCausalLM


def small_llama(seed=0, **changes):
    """A Llama of random weights, small enough for many passes."""
    torch.manual_seed(seed)
    shape = {
        "vocab_size": 50,
        "hidden_size": 24,
        "intermediate_size": 40,
        "num_hidden_layers": 3,
        "num_attention_heads": 3,
        "num_key_value_heads": 1,
        "tie_word_embeddings": True,
        "bos_token_id": 0,
        "eos_token_id": 0,
    }
    return LlamaForCausalLM(LlamaConfig(**(shape | changes))).eval()
