"""Other processors' arithmetics are tried, each in a run of its own."""

import os
import subprocess
import sys

import pytest

from runnable_pages.arithmetic import LEVELS, _level, arithmetics
from runnable_pages.portable import portable

PRINT = (
    "import torch, numpy as np; print(torch.exp(torch.arange(9) / 7).sum())"
)


def test_every_library_computes_as_the_oldest_processor_would():
    """Asked of the libraries themselves, in a new interpreter."""
    lowest = next(a for a in arithmetics() if a.name == "lowest")
    if lowest.left_out:
        pytest.skip(lowest.left_out)
    code = (
        "import numpy, torch; from threadpoolctl import threadpool_info as i; "
        "from numpy._core._multiarray_umath import __cpu_features__ as f; "
        "print({p['architecture'] for p in i() if 'architecture' in p}, "
        "torch.backends.cpu.get_cpu_capability(), f['X86_V3'], f['X86_V4'])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, **lowest.environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "{'Nehalem'} DEFAULT False False\n"


def test_what_a_processor_lacks_is_left_out_and_said():
    """AVX2 where that is all there is, and both where it isn't x86-64."""
    assert "no AVX-512" in _level("AVX2", {"X86_V3"}).left_out
    assert "no x86-64" in _level("lowest", set()).left_out
    old = _level("lowest", {"X86_V3", "AVX2"}).environment
    assert old["NPY_DISABLE_CPU_FEATURES"] == "X86_V3"
    assert set(old) == set(LEVELS["AVX2"])


def test_each_arithmetic_is_a_run_of_pytest(sample, monkeypatch, capfd):
    """All pass on a page that holds, and the summary names each."""
    monkeypatch.chdir(sample.root)
    assert portable(["-q", "-p", "no:cacheprovider", "docs"]) == 0
    told = capfd.readouterr().out
    for arithmetic in arithmetics():
        expected = "left out" if arithmetic.left_out else "agrees"
        assert f"\n{arithmetic.name}: {expected}" in told
    sample.edit("snippets/lessons/sums.out", "3.500", "3.600")
    assert portable(["-q", "-p", "no:cacheprovider", "docs"], "plain") == 1
    assert "plain: failed" in capfd.readouterr().out
    with pytest.raises(ValueError, match="no arithmetic 'oldest'; there are"):
        portable([], "oldest")
