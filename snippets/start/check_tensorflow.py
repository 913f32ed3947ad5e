"""What TensorFlow finds on a machine, and what to do without a GPU."""


# --8<-- [start:verdict]
def tensorflow_verdict(version, cuda, gpus):
    """Say what TensorFlow uses and, where a GPU is missing, what to do.

    cuda is the version of CUDA that it is built for, or None; gpus lists
    the names of the GPUs that it sees.
    """
    built_for = f"CUDA {cuda}" if cuda else "the CPU"
    found = f"TensorFlow {version}, built for {built_for}"
    if gpus:
        return f"{found}\n  trains on {gpus[0]} ({len(gpus)} in all)"
    if not cuda:
        return f"{found}\n  trains on the CPU"
    return (
        f"{found}\n  sees no GPU, so trains on the CPU:\n"
        "  1. nvidia-smi fails?          install the driver, restart\n"
        '  2. libraries missing?         install "tensorflow[and-cuda]"\n'
        "  3. CUDA_VISIBLE_DEVICES set?  unset it: it hides GPUs\n"
        "  4. on Windows?                run it inside WSL2"
    )


# --8<-- [end:verdict]


# --8<-- [start:facts]
def tensorflow_facts():
    """Return version, CUDA version and GPUs of the TensorFlow here."""
    import tensorflow as tf

    cuda = None
    if tf.test.is_built_with_cuda():
        cuda = tf.sysconfig.get_build_info()["cuda_version"]
    gpus = [
        tf.config.experimental.get_device_details(gpu).get(
            "device_name", gpu.name
        )
        for gpu in tf.config.list_physical_devices("GPU")
    ]
    return tf.__version__, cuda, gpus


# --8<-- [end:facts]


if __name__ == "__main__":
    # --8<-- [start:examples]
    print(tensorflow_verdict("2.21.0", None, []))
    print(tensorflow_verdict("2.21.0", "12.5.1", ["NVIDIA H100"]))
    print(tensorflow_verdict("2.21.0", "12.5.1", []))
    # --8<-- [end:examples]

    # --8<-- [start:compute]
    import tensorflow as tf

    ones = tf.ones((64, 64))
    print(f"64 x 64 x 64 = {tf.reduce_sum(ones @ ones).numpy():.0f}")
    # --8<-- [end:compute]

    # --8<-- [start:mine]
    print(tensorflow_verdict(*tensorflow_facts()))
    # --8<-- [end:mine]
