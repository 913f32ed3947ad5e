"""From a PyTorch model to files that run without it."""

# --8<-- [start:digits]
import operator
from pathlib import Path

import numpy as np
import torch
from torch import nn

from snippets.advanced.transfer_learning import (
    accuracy,
    batch_losses,
    conv_body,
    descend,
)
from snippets.architectures.cnn import mnist_sets


class Digits(nn.Module):
    """Images (batch, 1, 28, 28) to logits (batch, 10)."""

    def __init__(self):
        super().__init__()
        self.body = conv_body()
        self.dropout = nn.Dropout(0.2)
        self.head = nn.Linear(1024, 10)

    def forward(self, images):
        """Logits of the ten digits."""
        return self.head(self.dropout(self.body(images)))


if __name__ == "__main__":
    train, (images, labels) = mnist_sets()
    torch.manual_seed(0)
    model = Digits()
    descend(model, batch_losses(model, *train, 150, 0), 1e-3)
    print(f"accuracy {accuracy(model, images, labels):.2f}")
    # --8<-- [end:digits]

    # --8<-- [start:onnx]
    import logging
    import warnings

    import onnxruntime
    from torch.export import Dim

    # of torchvision, which isn't here, and of a change within PyTorch
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    warnings.simplefilter("ignore", FutureWarning)
    model.eval()
    torch.onnx.export(
        model,
        (images[:2],),  # an example; its size is no limit
        "digits.onnx",
        input_names=["images"],
        output_names=["logits"],
        dynamic_shapes={"images": {0: Dim("batch")}},
        verbose=False,
    )
    session = onnxruntime.InferenceSession("digits.onnx")
    for n in (1, 2, 7, 500):
        (found,) = session.run(None, {"images": images[:n].numpy()})
        with torch.no_grad():
            gap = np.abs(found - model(images[:n]).numpy()).max()
        print(f"{n:3} images: {found.shape}, largest gap {gap:.4f}")
    # --8<-- [end:onnx]


# --8<-- [start:trace]
class Traced:
    """Stands for a number, and writes down what is done with it."""

    def __init__(self, graph, name):
        self.graph, self.name = graph, name

    def record(self, operation, *inputs):
        """One more line of the graph; returns what stands for its result."""
        name = f"v{len(self.graph)}"
        inputs = [getattr(each, "name", each) for each in inputs]
        self.graph.append((name, operation, inputs))
        return Traced(self.graph, name)

    def __add__(self, other):
        return self.record("add", self, other)

    def __mul__(self, other):
        return self.record("mul", self, other)

    def __gt__(self, other):
        return self.record("gt", self, other)


def trace(function, n_inputs):
    """The graph of a function: lines of (name, operation, inputs)."""
    graph = []
    result = function(*(Traced(graph, f"x{i}") for i in range(n_inputs)))
    return graph, result.name


def run(graph, output, *inputs):
    """Carry a graph out, line by line."""
    values = {f"x{i}": value for i, value in enumerate(inputs)}
    for name, operation, names in graph:
        arguments = [values.get(each, each) for each in names]
        values[name] = getattr(operator, operation)(*arguments)
    return values[output]


# --8<-- [end:trace]


if __name__ == "__main__":
    # --8<-- [start:traced]
    def power(x):
        """The cube of x, less readable than it might be."""
        result = x
        for _ in range(2):
            result = result * x
        return result + 1

    graph, output = trace(power, 1)
    for line in graph:
        print(*line)
    print("of 5:", run(graph, output, 5), "and directly:", power(5))
    # --8<-- [end:traced]

    # --8<-- [start:frozen]
    def magnitude(x):
        """The size of x."""
        return x * 1 if x > 0 else x * -1

    graph, output = trace(magnitude, 1)
    for line in graph:
        print(*line)
    print("of -5:", run(graph, output, -5), "and directly:", magnitude(-5))
    # --8<-- [end:frozen]

    # --8<-- [start:program]
    from collections import Counter

    program = torch.export.export(
        model,
        (images[:2],),
        dynamic_shapes={"images": {0: Dim("batch")}},
    )
    nodes = [n for n in program.graph.nodes if n.op == "call_function"]
    for name, count in Counter(str(n.target) for n in nodes).items():
        print(f"{count} x {name}")
    # --8<-- [end:program]

    # --8<-- [start:gpt]
    from snippets.architectures.transformer import GPT

    torch.manual_seed(0)
    gpt = GPT(vocab_size=65).eval()
    ids = torch.randint(65, (2, 8))
    shapes = {"ids": {0: Dim("batch"), 1: Dim("seq", max=gpt.context)}}
    torch.onnx.export(
        gpt,
        (ids,),
        "gpt.onnx",
        input_names=["ids"],
        dynamic_shapes=shapes,
        verbose=False,
    )
    writer = onnxruntime.InferenceSession("gpt.onnx")
    for shape in ((1, 1), (3, 32), (5, 17)):
        ids = torch.randint(65, shape)
        (found,) = writer.run(None, {"ids": ids.numpy()})
        with torch.no_grad():
            gap = np.abs(found - gpt(ids).numpy()).max()
        print(f"{shape}: {found.shape}, largest gap {gap:.4f}")
    # --8<-- [end:gpt]

    # --8<-- [start:files]
    from safetensors.torch import load_model, save_model

    save_model(gpt, "gpt.safetensors")
    torch.export.save(
        torch.export.export(gpt, (ids,), dynamic_shapes=shapes), "gpt.pt2"
    )
    numbers = sum(p.numel() for p in gpt.parameters())
    print(f"{numbers:,} weights of 4 bytes: {4 * numbers / 1e6:.2f} MB")
    for path in sorted(Path().glob("gpt.*")):
        print(f"{path.name:16}{path.stat().st_size / 1e6:6.2f} MB")
    # --8<-- [end:files]

    # --8<-- [start:safe]
    other = GPT(vocab_size=65)
    load_model(other, "gpt.safetensors")
    with torch.no_grad():
        print("equal:", torch.equal(other.eval()(ids), gpt(ids)))
    # --8<-- [end:safe]

    # --8<-- [start:results]
    import json
    from importlib.resources import files

    record = files("snippets.deployment").joinpath("export.results.json")
    results = json.loads(record.read_text())["results"]
    print("times as fast as eager PyTorch, in a batch of")
    print("                 1    64")
    for name in results["1"]:
        row = [results[n]["eager"] / results[n][name] for n in ("1", "64")]
        print("{:12}{:6.1f}{:6.1f}".format(name, *row))
    # --8<-- [end:results]

    # --8<-- [start:one]
    def told(function, *arguments, **options):
        """How the error of a call begins."""
        try:
            function(*arguments, **options)
        except Exception as error:
            text = " ".join(str(error).split()).split(" - ")[-1]
            print(f"{type(error).__name__}: {text[:79]}")

    def export(model, example, batch):
        """The program of a model for images, with a batch as told."""
        shapes = {"images": {0: batch}}
        return torch.export.export(model, (example,), dynamic_shapes=shapes)

    told(export, model, images[:1], Dim("batch"))
    logging.getLogger("torch").setLevel(logging.ERROR)
    silent = export(model, images[:1], Dim.AUTO)
    told(silent.module(), images[:2])
    # --8<-- [end:one]

    # --8<-- [start:loop]
    class EachImage(nn.Module):
        """The mean of each image, one after the other."""

        def forward(self, images):
            return torch.stack([image.mean() for image in images])

    class AtOnce(nn.Module):
        """The same, as one operation."""

        def forward(self, images):
            return images.mean(dim=(1, 2, 3))

    told(export, EachImage(), images[:2], Dim("batch"))
    program = export(AtOnce(), images[:2], Dim("batch"))
    print(program.module()(images[:5]).shape)
    # --8<-- [end:loop]

    # --8<-- [start:branch]
    class Inverted(nn.Module):
        """White digits on black, whichever way they come."""

        def forward(self, images):
            if images.mean() > 0.5:
                images = 1 - images
            return images

    class Chosen(nn.Module):
        """The same for each image, with both branches computed."""

        def forward(self, images):
            light = images.mean(dim=(1, 2, 3), keepdim=True) > 0.5
            return torch.where(light, 1 - images, images)

    told(export, Inverted(), images[:2], Dim("batch"))
    program = export(Chosen(), images[:2], Dim("batch")).module()
    mixed = torch.cat([images[:3], 1 - images[3:5]])
    print("dark:", (program(mixed).mean(dim=(1, 2, 3)) < 0.5).tolist())
    # --8<-- [end:branch]

    # --8<-- [start:dropout]
    def dropped(example):
        """Whether two runs of a file differ."""
        runner = onnxruntime.InferenceSession("mode.onnx")
        name = runner.get_inputs()[0].name
        first, second = (
            runner.run(None, {name: example.numpy()})[0] for _ in range(2)
        )
        return not np.array_equal(first, second)

    warnings.filterwarnings("ignore", "Exporting a model while it is in train")
    layers = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5))
    for training in (True, False):
        layers.train(training)
        torch.onnx.export(
            layers, (torch.ones(2, 4),), "mode.onnx", verbose=False
        )
        print(
            f"training mode {training}: runs differ", dropped(torch.ones(2, 4))
        )
    # --8<-- [end:dropout]

    # --8<-- [start:moved]
    Path("moved").mkdir(exist_ok=True)
    Path("moved/gpt.onnx").write_bytes(Path("gpt.onnx").read_bytes())
    told(onnxruntime.InferenceSession, "moved/gpt.onnx")
    # --8<-- [end:moved]

    # --8<-- [start:tied]
    from safetensors.torch import save_file

    gpt.head.weight = gpt.tokens.weight  # one array under two names
    told(save_file, gpt.state_dict(), "tied.safetensors")
    told(save_file, {"w": torch.ones(3, 4).T}, "turned.safetensors")
    save_model(gpt, "tied.safetensors")
    print(Path("tied.safetensors").stat().st_size // 1000, "kB")
    # --8<-- [end:tied]

    # --8<-- [start:paths]
    import onnx

    def names_of_files(content):
        """How often a Python file is named in the bytes of a model."""
        return content.count(b".py")

    graph_only = onnx.load("gpt.onnx", load_external_data=False)
    for node in graph_only.graph.node:
        del node.metadata_props[:]
    before = names_of_files(Path("gpt.onnx").read_bytes())
    after = names_of_files(graph_only.SerializeToString())
    print(
        "files named:", "hundreds" if before > 100 else before, "then", after
    )
    # --8<-- [end:paths]

    # --8<-- [start:stranger]
    class Harmful:
        """Its pickle is a call of print; it could be any call."""

        def __reduce__(self):
            return print, ("this code came with the weights",)

    torch.save({"w": torch.ones(2), "extra": Harmful()}, "stranger.pt")
    try:
        torch.load("stranger.pt")
    except Exception as error:
        print(type(error).__name__, "names print:", "print" in str(error))
    # --8<-- [end:stranger]

    # --8<-- [start:solution-count]
    kinds = Counter(
        node.op_type for node in onnx.load("digits.onnx").graph.node
    )
    print(dict(kinds))
    # --8<-- [end:solution-count]

    # --8<-- [start:solution-long]
    told(gpt, torch.zeros(1, 40, dtype=torch.long))
    onnxruntime.set_default_logger_severity(4)
    quiet = onnxruntime.InferenceSession("gpt.onnx")
    try:
        quiet.run(None, {"ids": np.zeros((1, 40), np.int64)})
    except Exception as error:
        text = str(error)
        print(
            type(error).__name__, "in an Add:", "running Add" in text, end=""
        )
        print(", names the length:", "seq" in text)
    # --8<-- [end:solution-long]

    # --8<-- [start:solution-scale]
    class Service(nn.Module):
        """Bytes (batch, 28, 28) to probabilities: nothing left to forget."""

        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, images):
            return self.model(images[:, None].float() / 255).softmax(1)

    pixels = (images[:, 0] * 255).round().to(torch.uint8)
    whole = export(Service(model).eval(), pixels[:2], Dim("batch")).module()
    probabilities = whole(pixels)
    right = (probabilities.argmax(1) == labels).float().mean()
    print(f"accuracy {right:.2f}, sums to {probabilities.sum(1).mean():.2f}")
    # --8<-- [end:solution-scale]
