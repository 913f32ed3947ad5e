"""What JAX finds on a machine, and what to do when it sees no GPU."""


# --8<-- [start:verdict]
def jax_verdict(version, plugins, devices):
    """Say what JAX runs on and, where a GPU is missing, what to do.

    plugins lists the installed packages that add accelerators to JAX, and
    devices what it sees, as "cpu: cpu" or "gpu: NVIDIA H100".
    """
    built_for = ", ".join(plugins) if plugins else "no accelerator"
    found = f"JAX {version} with {built_for}"
    others = [device for device in devices if not device.startswith("cpu")]
    if others:
        return f"{found}\n  runs on {others[0]} ({len(others)} in all)"
    if not plugins:
        cure = 'for a GPU, install "jax[cuda13]"'
        return f"{found}\n  runs on the CPU; {cure}"
    return (
        f"{found}\n  sees no GPU, so runs on the CPU:\n"
        "  1. nvidia-smi fails?          install the driver, restart\n"
        "  2. plugin and jaxlib differ?  install both in one pip command\n"
        "  3. CUDA_VISIBLE_DEVICES set?  unset it: it hides GPUs\n"
        "  4. JAX_PLATFORMS set to cpu?  unset it"
    )


# --8<-- [end:verdict]


# --8<-- [start:facts]
def jax_facts():
    """Return version, accelerator plugins and devices of the JAX here."""
    from importlib.metadata import distributions

    import jax

    names = {package.metadata["Name"] for package in distributions()}
    plugins = [
        name
        for name in sorted(filter(None, names))
        if name.startswith("jax-") and name.endswith("-plugin")
    ]
    devices = [f"{d.platform}: {d.device_kind}" for d in jax.devices()]
    return jax.__version__, plugins, devices


# --8<-- [end:facts]


if __name__ == "__main__":
    # --8<-- [start:examples]
    plugin = "jax-cuda13-plugin"
    print(jax_verdict("0.10.2", [], ["cpu: cpu"]))
    print(jax_verdict("0.10.2", [plugin], ["gpu: NVIDIA H100"]))
    print(jax_verdict("0.10.2", [plugin], ["cpu: cpu"]))
    # --8<-- [end:examples]

    # --8<-- [start:compute]
    import jax.numpy as jnp

    ones = jnp.ones((64, 64))
    print(f"64 x 64 x 64 = {(ones @ ones).sum().item():.0f}")
    # --8<-- [end:compute]

    # --8<-- [start:mine]
    print(jax_verdict(*jax_facts()))
    # --8<-- [end:mine]
