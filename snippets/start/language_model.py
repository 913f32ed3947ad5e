"""SmolLM2, a real language model: load it, ask it, measure it."""

# --8<-- [start:load]
import torch
import torch.nn.functional as F
from transformers import AutoModelForCausalLM, AutoTokenizer

from snippets.start.convert_language_model import FOLDER


def load(folder=FOLDER):
    """SmolLM2, ready to predict, and its tokenizer. Needs no network.

    Raises FileNotFoundError if the model hasn't been converted yet.
    """
    if not folder.is_dir():
        raise FileNotFoundError(
            f"there is no model in {folder}; put it there, once, by: "
            "python -m snippets.start.convert_language_model"
        )
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return model.eval(), tokenizer


# --8<-- [end:load]


if __name__ == "__main__":
    # --8<-- [start:first]
    model, tokenizer = load()
    text = "The capital of France is"
    ids = tokenizer(text, return_tensors="pt").input_ids  # (1, seq)
    with torch.no_grad():
        logits = model(ids).logits  # (1, seq, vocabulary)
    probabilities = logits[0, -1].softmax(dim=-1)  # (vocabulary,)
    for token in probabilities.topk(5).indices:
        print(f"{probabilities[token]:.3f} {tokenizer.decode(token)!r}")
    # --8<-- [end:first]


# --8<-- [start:next-token]
@torch.no_grad()
def next_token(model, tokenizer, text):
    """Probability of each token to come after a text: (vocabulary,)."""
    ids = tokenizer(text, return_tensors="pt").input_ids
    return model(ids).logits[0, -1].softmax(dim=-1)


def entropy(probabilities):
    """-sum p log p, in nats: 0 if sure, log n if n tokens are alike."""
    return torch.special.entr(probabilities).sum().item()


# --8<-- [end:next-token]


if __name__ == "__main__":
    # --8<-- [start:prompts]
    import textwrap

    import matplotlib.pyplot as plt

    prompts = [
        "The capital of France is",
        "The capital of Australia is",
        "My dog is called",
    ]
    fig, axes = plt.subplots(1, 3, sharex=True, layout="constrained")
    for ax, prompt in zip(axes, prompts, strict=True):
        probabilities = next_token(model, tokenizer, prompt)
        top = probabilities.topk(5)
        ax.barh([tokenizer.decode(t) for t in top.indices], top.values)
        ax.invert_yaxis()
        ax.set(xlabel="probability", xticks=[0, 0.4, 0.8])
        ax.set_title(textwrap.fill(prompt, 14))
        print(f"{prompt:28} {entropy(probabilities):.1f} nats")
    # --8<-- [end:prompts]

    # --8<-- [start:pieces]
    ids = tokenizer("Training takes 120 steps.").input_ids
    print([tokenizer.decode(i) for i in ids])
    print(tokenizer.decode(ids))
    # --8<-- [end:pieces]

    # --8<-- [start:file]
    from collections import Counter

    from gguf import GGUFReader

    from snippets.start.convert_language_model import packaged_file

    file = GGUFReader(packaged_file())
    for key in ("block_count", "embedding_length", "context_length"):
        print(f"{key:17}{file.get_field(f'llama.{key}').contents():6}")
    tensors, weights, size = Counter(), Counter(), Counter()
    for tensor in file.tensors:
        kind = tensor.tensor_type.name
        tensors[kind] += 1
        weights[kind] += int(tensor.n_elements)
        size[kind] += int(tensor.n_bytes)
    for kind in weights:
        bits = 8 * size[kind] / weights[kind]
        print(f"{tensors[kind]:3} {kind:4} {weights[kind]:12,}  {bits:4.1f}")
    print(f"{sum(weights.values()):21,}")
    # --8<-- [end:file]


# --8<-- [start:count]
def count_parameters(vocabulary, width, kv_width, hidden, layers):
    """Parameters of a Llama whose output layer is its embedding.

    kv_width is the width of all keys of a token, hidden that inside the MLP.
    """
    attention = 2 * width * width + 2 * width * kv_width
    mlp = 3 * width * hidden
    norms = 2 * width
    return vocabulary * width + layers * (attention + mlp + norms) + width


# --8<-- [end:count]


if __name__ == "__main__":
    # --8<-- [start:counted]
    c = model.config
    kv_width = c.num_key_value_heads * c.head_dim
    by_formula = count_parameters(
        c.vocab_size,
        c.hidden_size,
        kv_width,
        c.intermediate_size,
        c.num_hidden_layers,
    )
    print(f"formula {by_formula:,}")
    print(f"model   {sum(p.numel() for p in model.parameters()):,}")
    # --8<-- [end:counted]

    # --8<-- [start:template]
    def ask(question):
        """The text by which a question reaches the model."""
        return tokenizer.apply_chat_template(
            [{"role": "user", "content": question}],
            add_generation_prompt=True,
            tokenize=False,
        )

    print(ask("What is the capital of France?"))
    # --8<-- [end:template]


# --8<-- [start:greedy]
@torch.no_grad()
def greedy(model, tokenizer, text, most=20):
    """Extend a text by its likeliest token, until the end mark comes.

    Returns the new tokens as text, at most `most` of them.
    """
    ids = tokenizer(text, return_tensors="pt").input_ids
    start = ids.shape[1]
    while ids.shape[1] < start + most:
        token = model(ids).logits[0, -1].argmax()
        if token == tokenizer.eos_token_id:
            break
        ids = torch.cat([ids, token.view(1, 1)], dim=1)
    return tokenizer.decode(ids[0, start:])


# --8<-- [end:greedy]


if __name__ == "__main__":
    # --8<-- [start:answers]
    questions = ["What is the capital of France?", "Is 7 a prime number?"]
    for question in questions:
        print(question, "->", greedy(model, tokenizer, ask(question), 13))

    inputs = tokenizer(ask(questions[1]), return_tensors="pt")
    out = model.generate(**inputs, max_new_tokens=13, do_sample=False)
    print(tokenizer.decode(out[0, inputs.input_ids.shape[1] :]))
    # --8<-- [end:answers]


# --8<-- [start:token-losses]
@torch.no_grad()
def token_losses(model, ids):
    """-log p(x_t | x_<t) of each token but the first, in nats.

    ids is (batch, seq); returns (batch, seq - 1).
    """
    logits = model(ids).logits[:, :-1]  # the last predicts what isn't there
    return F.cross_entropy(logits.mT, ids[:, 1:], reduction="none")


NOTE = """\
The kettle in our office takes three minutes to boil. On Tuesday Priya
put a sticker on it that says so, because Tom had asked her twice. Since
then nobody waits beside it: people put the kettle on, go back to their
desks, and return when it has boiled. Tom says that the sticker is the
best thing anyone did for him.""".replace("\n", " ")


# --8<-- [end:token-losses]


if __name__ == "__main__":
    # --8<-- [start:losses]
    import math

    import numpy as np

    rng = np.random.default_rng(0)
    shuffled = " ".join(rng.permutation(NOTE.split()))
    for name, text in (("note", NOTE), ("shuffled", shuffled)):
        ids = tokenizer(text, return_tensors="pt").input_ids
        losses = token_losses(model, ids)
        bits = losses.sum().item() / math.log(2) / len(text.encode())
        print(f"{name:9}{losses.mean():5.1f} nats a token", end="")
        print(f"{losses.mean().exp():7.0f} perplexity{bits:5.1f} bits a byte")
    ids = torch.tensor(rng.integers(3, len(tokenizer), (1, 300)))
    print(f"random   {token_losses(model, ids).mean():5.1f} nats a token")
    print(f"log V    {math.log(len(tokenizer)):5.1f} nats a token")
    # --8<-- [end:losses]

    # --8<-- [start:repeat]
    ids = tokenizer(NOTE, return_tensors="pt").input_ids
    losses = token_losses(model, ids.repeat(1, 2))[0]
    n = ids.shape[1]
    first, second = losses[: n - 1], losses[n:]
    print(f"first time  {first.mean():.1f} nats a token")
    print(f"second time {second.mean():.1f} nats a token")
    plt.figure()
    plt.plot(range(1, n), first, "o-", label="first time")
    plt.plot(range(1, n), second, "s--", label="second time")
    plt.xlabel("token of the note")
    plt.ylabel("loss (nats)")
    plt.legend()
    # --8<-- [end:repeat]

    # --8<-- [start:untemplated]
    question = "What is the capital of France?"
    probabilities = next_token(model, tokenizer, question)
    print(f"{probabilities[tokenizer.eos_token_id]:.2f} that it is over")
    # --8<-- [end:untemplated]

    # --8<-- [start:no-prompt]
    turn = tokenizer.apply_chat_template(
        [{"role": "user", "content": question}], tokenize=False
    )
    probabilities = next_token(model, tokenizer, turn)
    best = probabilities.argmax()
    print(f"{probabilities[best]:.2f} {tokenizer.decode(best)}")
    # --8<-- [end:no-prompt]

    # --8<-- [start:shifted-twice]
    ids = tokenizer(NOTE, return_tensors="pt").input_ids
    with torch.no_grad():
        right = model(ids, labels=ids).loss
        twice = model(ids[:, :-1], labels=ids[:, 1:]).loss
    print(f"labels as they are {right:5.1f}")
    print(f"shifted by you too {twice:5.1f}")
    # --8<-- [end:shifted-twice]

    # --8<-- [start:padding]
    chat = [
        {"role": "user", "content": question},
        {"role": "assistant", "content": "Paris."},
    ]
    ids = tokenizer.apply_chat_template(chat, return_tensors="pt").input_ids
    labels = ids.masked_fill(ids == tokenizer.pad_token_id, -100)
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    print(f"end marks in the chat:   {(ids == end).sum()}")
    print(f"end marks in the labels: {(labels == end).sum()}")
    # --8<-- [end:padding]

    # --8<-- [start:solution-answers]
    prompt = "The capital of Australia is"
    for answer in (" Canberra.", " Sydney.", " Melbourne."):
        n = len(tokenizer(answer).input_ids)
        ids = tokenizer(prompt + answer, return_tensors="pt").input_ids
        loss = token_losses(model, ids)[0, -n:].sum().item()
        print(f"{answer[1:]:11}{loss:4.1f} nats, p = {math.exp(-loss):.3f}")
    # --8<-- [end:solution-answers]

    # --8<-- [start:solution-context]
    ids = tokenizer(NOTE, return_tensors="pt").input_ids
    for context in (0, 8, 32, ids.shape[1] - 17):
        seen = ids[:, -17 - context :]
        loss = token_losses(model, seen)[0, -16:].mean()
        print(f"{context:2} tokens before: {loss:.1f} nats a token")
    # --8<-- [end:solution-context]

    # --8<-- [start:solution-sums]
    pairs = [(a, b) for a in range(10) for b in range(10 - a)]
    right_answers = [str(a + b) for a, b in pairs]
    for examples in ("", "2 + 2 = 4\n3 + 5 = 8\n"):
        texts = [f"{examples}{a} + {b} = " for a, b in pairs]
        ids = tokenizer(texts, return_tensors="pt").input_ids
        with torch.no_grad():
            best = model(ids).logits[:, -1].argmax(dim=-1)
        given = [tokenizer.decode(token) for token in best]
        n = sum(map(str.__eq__, given, right_answers))
        print(f"{n} of {len(pairs)} right after {examples.count('=')} sums")
    # --8<-- [end:solution-sums]
