"""Learning rate schedules: say in one line what the lesson builds."""

# --8<-- [start:mean]
import numpy as np


def mean(values):
    """The mean of values, (n,). Raises ValueError when there are none."""
    values = np.asarray(values, dtype=float)
    if values.size == 0:
        raise ValueError("values is empty; give at least one number")
    return values.sum() / values.size


# --8<-- [end:mean]


if __name__ == "__main__":
    # --8<-- [start:run]
    rng = np.random.default_rng(0)
    print(f"mean of a thousand numbers {mean(rng.normal(size=1000)):.4f}")
    # --8<-- [end:run]
