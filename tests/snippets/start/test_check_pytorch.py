"""The check of a PyTorch installation."""

import subprocess
import sys

import pytest
import torch

from snippets.start.check_pytorch import pytorch_facts, pytorch_verdict


def test_a_gpu_that_is_seen_is_named():
    """With two GPUs the verdict names the first, and counts them."""
    verdict = pytorch_verdict("2.13.0", "CUDA 13.0", ["A", "B"])
    assert verdict.split("\n") == [
        "PyTorch 2.13.0, built for CUDA 13.0",
        "  trains on A (2 in all)",
    ]


def test_a_build_for_the_cpu_says_what_to_install():
    """A CPU build isn't told to look for a driver, but to be replaced."""
    verdict = pytorch_verdict("2.13.0+cpu", "the CPU", [])
    assert "install its build" in verdict
    assert "nvidia-smi" not in verdict


@pytest.mark.parametrize("built_for", ["CUDA 13.0", "ROCm 7.0"])
def test_a_gpu_build_without_a_gpu_says_what_to_do(built_for):
    """A GPU build that sees no GPU lists four things to try, in order."""
    first, said, *steps = pytorch_verdict("2.13.0", built_for, []).split("\n")
    assert first == f"PyTorch 2.13.0, built for {built_for}"
    assert said == "  sees no GPU, so trains on the CPU:"
    assert [step[:4] for step in steps] == ["  1.", "  2.", "  3.", "  4."]
    assert built_for in steps[1]


def test_the_facts_are_those_of_this_machine():
    """Version, build and GPUs are what PyTorch itself reports."""
    version, built_for, gpus = pytorch_facts()
    assert version == torch.__version__
    metal = torch.backends.mps.is_built()
    gpu_build = torch.version.cuda or torch.version.hip or metal
    assert (built_for == "the CPU") == (not gpu_build)
    metal = torch.backends.mps.is_available()
    assert len(gpus) == torch.cuda.device_count() + metal


@pytest.mark.parametrize(
    ("cuda", "hip", "metal", "count", "expected"),
    [
        ("13.0", None, False, 2, ("CUDA 13.0", ["GPU 0", "GPU 1"])),
        (None, "7.0", False, 1, ("ROCm 7.0", ["GPU 0"])),
        (None, None, True, 0, ("Apple's Metal", ["the GPU of this Mac"])),
        (None, None, False, 0, ("the CPU", [])),
    ],
)
def test_every_build_is_told_apart(
    monkeypatch, cuda, hip, metal, count, expected
):
    """CUDA, ROCm, Metal and CPU builds each come out by their own name."""
    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setattr(torch.version, "hip", hip)
    monkeypatch.setattr(torch.backends.mps, "is_built", lambda: metal)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: metal)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.cuda, "get_device_name", "GPU {}".format)
    assert pytorch_facts()[1:] == expected


def test_the_script_ends_with_this_machines_verdict():
    """Run as a script, the check's last words are about this machine."""
    run = subprocess.run(
        [sys.executable, "-m", "snippets.start.check_pytorch"],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert run.stdout.strip().endswith(pytorch_verdict(*pytorch_facts()))
