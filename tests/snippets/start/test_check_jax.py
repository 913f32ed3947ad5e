"""The check of a JAX installation."""

import sys
from types import SimpleNamespace

import pytest

from snippets.start.check_jax import jax_facts, jax_verdict


def test_a_gpu_that_is_seen_is_named():
    """The verdict names the first device that isn't the CPU, and counts."""
    verdict = jax_verdict(
        "0.10.2", ["jax-p"], ["cpu: cpu", "gpu: A", "gpu: B"]
    )
    assert verdict.split("\n") == [
        "JAX 0.10.2 with jax-p",
        "  runs on gpu: A (2 in all)",
    ]


def test_without_a_plugin_it_says_what_to_install():
    """Without a plugin, JAX isn't told to look for a driver."""
    verdict = jax_verdict("0.10.2", [], ["cpu: cpu"])
    assert verdict.startswith("JAX 0.10.2 with no accelerator\n")
    assert "jax[cuda13]" in verdict
    assert "nvidia-smi" not in verdict


def test_a_plugin_without_a_gpu_says_what_to_do():
    """A plugin that sees no GPU lists four things to try, in order."""
    first, said, *steps = jax_verdict("1", ["a", "b"], ["cpu: cpu"]).split(
        "\n"
    )
    assert first == "JAX 1 with a, b"
    assert said == "  sees no GPU, so runs on the CPU:"
    assert [step[:4] for step in steps] == ["  1.", "  2.", "  3.", "  4."]


class FakePackage:
    def __init__(self, name):
        self.metadata = {"Name": name}


def test_the_facts_name_plugins_and_devices(monkeypatch):
    """Only JAX's own plugins count as plugins, sorted by name."""
    device = SimpleNamespace(platform="gpu", device_kind="NVIDIA H100")
    jax = SimpleNamespace(__version__="0.10.2", devices=lambda: [device])
    names = ["jax-cuda13-plugin", "jax-a-plugin", "jax-x", "x-plugin", None]
    monkeypatch.setitem(sys.modules, "jax", jax)
    monkeypatch.setattr(
        "importlib.metadata.distributions", lambda: map(FakePackage, names)
    )
    assert jax_facts() == (
        "0.10.2",
        ["jax-a-plugin", "jax-cuda13-plugin"],
        ["gpu: NVIDIA H100"],
    )


def test_the_facts_are_those_of_this_machine():
    """Where JAX is installed, version and devices are what it reports."""
    jax = pytest.importorskip("jax")
    version, _, devices = jax_facts()
    assert version == jax.__version__
    assert len(devices) == len(jax.devices()) > 0
