"""Linear regression by gradient descent, in TensorFlow."""

# --8<-- [start:tensorflow]
import tensorflow as tf


def tensorflow_descent(X, y, learning_rate=0.01, epochs=1000):
    """Do what gradient_descent does, with a gradient from a tape.

    X is (n, d), y is (n,). Returns weights (d,) and bias.
    """
    X, y = tf.cast(X, tf.float64), tf.cast(y, tf.float64)
    weights = tf.Variable(tf.zeros(X.shape[1], X.dtype))
    bias = tf.Variable(tf.zeros((), X.dtype))

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            error = tf.linalg.matvec(X, weights) + bias - y
            loss = tf.reduce_mean(error**2)
        weights_gradient, bias_gradient = tape.gradient(loss, [weights, bias])
        weights.assign_sub(learning_rate * weights_gradient)
        bias.assign_sub(learning_rate * bias_gradient)

    for _ in range(epochs):
        step()
    return weights.numpy(), bias.numpy()


# --8<-- [end:tensorflow]


if __name__ == "__main__":
    # --8<-- [start:agree-tensorflow]
    from sklearn.datasets import load_diabetes

    from snippets.fundamentals.gradient_descent import gradient_descent

    X_raw, y = load_diabetes(return_X_y=True, scaled=False)
    X = (X_raw - X_raw.mean(axis=0)) / X_raw.std(axis=0)
    weights, *_ = gradient_descent(X, y, learning_rate=0.1)
    tf_weights, tf_bias = tensorflow_descent(X, y, learning_rate=0.1)
    gap = abs(tf_weights - weights).max()
    print(f"largest difference in a weight {gap:.9f}")
    # --8<-- [end:agree-tensorflow]
