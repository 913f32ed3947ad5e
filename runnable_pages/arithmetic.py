"""The arithmetics of other processors, tried on this one.

NumPy, OpenBLAS, MKL, ATen and oneDNN each choose their instructions when they
are loaded, and each has a setting that makes it choose as an older processor
would. Sums and products then round differently in their last digits, and what
a chaotic run makes of that can be seen.
"""

import importlib.util
import os
import sys
from dataclasses import dataclass, field

THREADS = "RUNNABLE_PAGES_THREADS"
# The features by which NumPy chooses, from the newest to the oldest.
NUMPY = ("AVX512_SPR", "AVX512_ICL", "X86_V4", "X86_V3")
LEVELS = {
    "AVX2": {
        "OPENBLAS_CORETYPE": "Haswell",
        "NPY_DISABLE_CPU_FEATURES": NUMPY[:3],
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
    },
    "lowest": {
        "OPENBLAS_CORETYPE": "Nehalem",
        "NPY_DISABLE_CPU_FEATURES": NUMPY,
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
        "ATEN_CPU_CAPABILITY": "default",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
    },
}


@dataclass(frozen=True)
class Arithmetic:
    """A name, the settings that bring it about, and what was left out."""

    name: str
    environment: dict = field(default_factory=dict)
    threads: int = 1
    left_out: str = ""


def threads_here():
    """The threads of a page's run: one, unless the arithmetic has two."""
    return int(os.environ.get(THREADS, "1"))


def arithmetics():
    """Those that this machine can try, plain first.

    Where a level is what the processor has anyway, it is left out: then its
    `left_out` says so, and it has no settings.
    """
    plain = Arithmetic("plain")
    two = Arithmetic("two threads", _threads(2), 2)
    features = _features()
    levels = [_level(name, features) for name in LEVELS]
    return [plain, *levels, two]


def _threads(n):
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", THREADS)
    return dict.fromkeys(names, str(n))


def _level(name, features):
    if not features:
        why = "this is no x86-64 processor"
        return Arithmetic(name, left_out=why)
    if name == "AVX2" and "X86_V4" not in features:
        why = "it is what this processor has: no AVX-512"
        return Arithmetic(name, left_out=why)
    settings = dict(LEVELS[name])
    # NumPy warns of a feature that the processor lacks, and pages fail then.
    known = [f for f in settings["NPY_DISABLE_CPU_FEATURES"] if f in features]
    settings["NPY_DISABLE_CPU_FEATURES"] = " ".join(known)
    return Arithmetic(name, settings)


def _features():
    """NumPy's names of what the processor has; empty where it isn't x86-64.

    What is switched off here counts: the processor has it.
    """
    if importlib.util.find_spec("numpy") is None:
        return set()
    from numpy._core._multiarray_umath import (
        __cpu_baseline__,
        __cpu_features__,
    )

    if "X86_V2" not in __cpu_baseline__ or sys.platform == "win32":
        return set()
    off = os.environ.get("NPY_DISABLE_CPU_FEATURES", "").split()
    return {
        name for name, has in __cpu_features__.items() if has or name in off
    }
