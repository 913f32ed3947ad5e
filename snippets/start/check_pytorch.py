"""What PyTorch finds on a machine, and what to do when it sees no GPU."""


# --8<-- [start:verdict]
def pytorch_verdict(version, built_for, gpus):
    """Say what PyTorch trains on and, where a GPU is missing, what to do.

    built_for is "the CPU", or what the build is made for: "CUDA 13.0".
    gpus lists the names of the GPUs that PyTorch sees.
    """
    found = f"PyTorch {version}, built for {built_for}"
    if gpus:
        return f"{found}\n  trains on {gpus[0]} ({len(gpus)} in all)"
    if built_for == "the CPU":
        return f"{found}\n  trains on the CPU; for a GPU, install its build"
    return (
        f"{found}\n  sees no GPU, so trains on the CPU:\n"
        "  1. nvidia-smi fails?          install the driver, restart\n"
        f"  2. its CUDA is below yours?   update it, for {built_for}\n"
        "  3. CUDA_VISIBLE_DEVICES set?  unset it: it hides GPUs\n"
        "  4. in a container?            start it with its GPUs passed in"
    )


# --8<-- [end:verdict]


# --8<-- [start:facts]
def pytorch_facts():
    """Return version, build and GPUs of the PyTorch that is installed."""
    import torch

    built_for, gpus = "the CPU", []
    if torch.version.cuda:
        built_for = f"CUDA {torch.version.cuda}"
    elif torch.version.hip:
        built_for = f"ROCm {torch.version.hip}"
    elif torch.backends.mps.is_built():
        built_for = "Apple's Metal"
    if torch.backends.mps.is_available():
        gpus = ["the GPU of this Mac"]
    for i in range(torch.cuda.device_count()):
        gpus.append(torch.cuda.get_device_name(i))
    return torch.__version__, built_for, gpus


# --8<-- [end:facts]


if __name__ == "__main__":
    # --8<-- [start:examples]
    print(pytorch_verdict("2.13.0+cpu", "the CPU", []))
    print(pytorch_verdict("2.13.0+cu130", "CUDA 13.0", ["NVIDIA H100"]))
    print(pytorch_verdict("2.13.0+cu130", "CUDA 13.0", []))
    # --8<-- [end:examples]

    # --8<-- [start:compute]
    import torch

    device = "mps" if torch.backends.mps.is_available() else "cpu"
    device = "cuda" if torch.cuda.is_available() else device
    ones = torch.ones(64, 64, device=device)
    print(f"64 x 64 x 64 = {(ones @ ones).sum().item():.0f}")
    # --8<-- [end:compute]

    # --8<-- [start:mine]
    print(pytorch_verdict(*pytorch_facts()))
    # --8<-- [end:mine]
