"""Linear regression by gradient descent, in JAX."""

# --8<-- [start:jax]
import jax
import jax.numpy as jnp


def jax_descent(X, y, learning_rate=0.01, epochs=1000):
    """Do what gradient_descent does, with a gradient by jax.grad.

    X is (n, d), y is (n,). Returns weights (d,) and bias.
    """
    X, y = jnp.asarray(X, float), jnp.asarray(y, float)

    def loss(parameters):
        weights, bias = parameters
        return jnp.mean((X @ weights + bias - y) ** 2)

    @jax.jit
    def step(parameters):
        gradients = jax.grad(loss)(parameters)
        return [
            parameter - learning_rate * gradient
            for parameter, gradient in zip(parameters, gradients, strict=True)
        ]

    parameters = [jnp.zeros(X.shape[1]), jnp.zeros(())]
    for _ in range(epochs):
        parameters = step(parameters)
    return parameters


# --8<-- [end:jax]


if __name__ == "__main__":
    # --8<-- [start:agree-jax]
    from sklearn.datasets import load_diabetes

    from snippets.fundamentals.gradient_descent import gradient_descent

    jax.config.update("jax_enable_x64", True)  # else it rounds to float32
    X_raw, y = load_diabetes(return_X_y=True, scaled=False)
    X = (X_raw - X_raw.mean(axis=0)) / X_raw.std(axis=0)
    weights, *_ = gradient_descent(X, y, learning_rate=0.1)
    jax_weights, jax_bias = jax_descent(X, y, learning_rate=0.1)
    gap = abs(jax_weights - weights).max()
    print(f"largest difference in a weight {gap:.9f}")
    # --8<-- [end:agree-jax]
