"""The check of a TensorFlow installation."""

import sys
from types import SimpleNamespace

import pytest

from snippets.start.check_tensorflow import (
    tensorflow_facts,
    tensorflow_verdict,
)


def test_a_gpu_that_is_seen_is_named():
    """With two GPUs the verdict names the first, and counts them."""
    verdict = tensorflow_verdict("2.21.0", "12.5", ["A", "B"])
    assert verdict.split("\n") == [
        "TensorFlow 2.21.0, built for CUDA 12.5",
        "  trains on A (2 in all)",
    ]


def test_a_build_for_the_cpu_is_not_told_to_look_for_a_driver():
    """A CPU build trains on the CPU, and that is all there is to say."""
    assert tensorflow_verdict("2.21.0", None, []).split("\n") == [
        "TensorFlow 2.21.0, built for the CPU",
        "  trains on the CPU",
    ]


def test_a_gpu_build_without_a_gpu_says_what_to_do():
    """A GPU build that sees no GPU lists four things to try, in order."""
    verdict = tensorflow_verdict("2.21.0", "12.5", [])
    first, said, *steps = verdict.split("\n")
    assert first == "TensorFlow 2.21.0, built for CUDA 12.5"
    assert said == "  sees no GPU, so trains on the CPU:"
    assert [step[:4] for step in steps] == ["  1.", "  2.", "  3.", "  4."]


@pytest.mark.parametrize("cuda", [None, "12.5"])
def test_the_facts_name_build_and_gpus(monkeypatch, cuda):
    """A GPU has its model's name, or else the one TensorFlow gives it."""
    gpus = [SimpleNamespace(name=name) for name in ("GPU:0", "GPU:1")]
    details = {"GPU:0": {"device_name": "NVIDIA H100"}, "GPU:1": {}}
    config = SimpleNamespace(
        list_physical_devices={"GPU": gpus}.get,
        experimental=SimpleNamespace(
            get_device_details=lambda gpu: details[gpu.name]
        ),
    )
    build = {"cuda_version": cuda} if cuda else {}
    tf = SimpleNamespace(
        __version__="2.21.0",
        config=config,
        test=SimpleNamespace(is_built_with_cuda=lambda: bool(cuda)),
        sysconfig=SimpleNamespace(get_build_info=lambda: build),
    )
    monkeypatch.setitem(sys.modules, "tensorflow", tf)
    assert tensorflow_facts() == ("2.21.0", cuda, ["NVIDIA H100", "GPU:1"])


def test_the_facts_are_those_of_this_machine():
    """Version and build are what TensorFlow itself reports."""
    tf = pytest.importorskip("tensorflow")
    version, cuda, gpus = tensorflow_facts()
    assert version == tf.__version__
    assert (cuda is not None) == tf.test.is_built_with_cuda()
    assert len(gpus) == len(tf.config.list_physical_devices("GPU"))
