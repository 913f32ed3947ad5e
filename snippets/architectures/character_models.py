"""A language model of names: letters in, the next letter's distribution out."""

# --8<-- [start:names]
from importlib.resources import files

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from snippets.architectures.rnn import GRUCell, fit, mean_loss, read

CHARACTERS = "\nabcdefghijklmnopqrstuvwxyz"  # a name's end, then letters
IGNORED = -100  # a target that cross_entropy leaves out


def load_names(n_held_out=8000, seed=0):
    """88,799 surnames of the US census of 1990, once each, in two lists."""
    text = files("names").joinpath("dist.all.last").read_text("ascii")
    names = [line.split()[0].lower() for line in text.splitlines()]
    assert 0 < n_held_out < len(names), f"{n_held_out} of {len(names)} names"
    order = np.random.default_rng(seed).permutation(len(names))
    names = [names[place] for place in order]
    return names[n_held_out:], names[:n_held_out]


# --8<-- [end:names]


# --8<-- [start:name-ids]
def name_ids(names):
    """Ids to read and ids to predict, (names, longest + 1) each.

    A name is read behind an end mark, and predicted up to the next one. What
    stands behind that is IGNORED. Names are of letters a to z.
    """
    rows = [
        torch.tensor([CHARACTERS.index(letter) for letter in f"{name}\n"])
        for name in names
    ]
    targets = nn.utils.rnn.pad_sequence(rows, True, padding_value=IGNORED)
    inputs = F.pad(targets[:, :-1], (1, 0)).clamp(min=0)
    return inputs, targets


# --8<-- [end:name-ids]


# --8<-- [start:name-model]
class NameModel(nn.Module):
    """From ids (batch, seq) to logits of each next one, (batch, seq, 27)."""

    def __init__(self, cell):
        super().__init__()
        self.embed = nn.Embedding(len(CHARACTERS), cell.d_in)
        self.cell = cell
        self.head = nn.Linear(cell.d_hidden, len(CHARACTERS))

    def read_on(self, ids, state=None):
        """The logits, and the state to go on from."""
        ids = ids.to(self.embed.weight.device)
        outputs, state = read(self.cell, self.embed(ids), state)
        return self.head(outputs), state

    def forward(self, ids):
        return self.read_on(ids)[0]


# --8<-- [end:name-model]
