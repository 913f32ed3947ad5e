"""An engine that differentiates any graph of arrays, from one product up."""

# --8<-- [start:tensor]
import numpy as np


class Tensor:
    """Numbers that know what they were computed from.

    data is an array of any shape, edges a list of pairs (parent, pull).
    """

    __array_ufunc__ = None  # so that array + tensor asks the tensor

    def __init__(self, data, requires_grad=False, edges=()):
        self.data = np.array(data, dtype=float, copy=None if edges else True)
        self.data.flags.writeable = False  # the pulls rely on it
        self.requires_grad = requires_grad or len(edges) > 0
        self.edges, self.grad = edges, None  # leaves get a gradient
        self.shape = self.data.shape


# --8<-- [end:tensor]


# --8<-- [start:product]
def node(data, *edges):
    """A result, with an edge to each parent that needs a gradient."""
    return Tensor(data, edges=[e for e in edges if e[0].requires_grad])


def as_tensor(a):
    """The tensor, or a number or an array as one."""
    return a if isinstance(a, Tensor) else Tensor(a)


def multiply(a, b):
    """a * b; its slope in a is b, and its slope in b is a."""
    a, b = as_tensor(a), as_tensor(b)
    value = a.data * b.data
    return node(value, (a, lambda g: g * b.data), (b, lambda g: g * a.data))


# --8<-- [end:product]


if __name__ == "__main__":
    # --8<-- [start:first]
    x, y = (Tensor(value, requires_grad=True) for value in (2.0, 3.0))
    h = multiply(x, y)
    (_, pull_x), (_, pull_y) = h.edges
    print(f"{h.data}, gradient in x {pull_x(1.0)}, in y {pull_y(1.0)}")
    # --8<-- [end:first]


# --8<-- [start:arithmetic]
def add(a, b):
    """a + b; both slopes are 1."""
    a, b = as_tensor(a), as_tensor(b)
    return node(a.data + b.data, (a, lambda g: g), (b, lambda g: g))


def power(a, p):
    """a to the power of a constant p; its slope is p a^(p - 1)."""
    return node(a.data**p, (a, lambda g: g * p * a.data ** (p - 1)))


Tensor.__add__ = Tensor.__radd__ = add
Tensor.__mul__ = Tensor.__rmul__ = multiply
Tensor.__pow__ = power
Tensor.__neg__ = lambda a: a * -1.0
Tensor.__sub__ = lambda a, b: a + -as_tensor(b)
Tensor.__rsub__ = lambda a, b: -a + b
Tensor.__truediv__ = lambda a, b: a * as_tensor(b) ** -1.0
# --8<-- [end:arithmetic]


# --8<-- [start:push]
def push(tensor, g):
    """Hand the upstream gradient g on along each path; count the calls."""
    if not tensor.edges:
        tensor.grad = g + (0 if tensor.grad is None else tensor.grad)
    return 1 + sum(push(parent, pull(g)) for parent, pull in tensor.edges)


# --8<-- [end:push]


if __name__ == "__main__":
    # --8<-- [start:paths]
    s = h + 1.0
    z = h * s
    push(z, 1.0)
    print(f"z = {z.data}, gradient in x {x.grad}, in y {y.grad}")
    for rings in (5, 10, 15):
        end = Tensor(1.0, requires_grad=True)
        for _ in range(rings):
            end = end + 0.5 * end
        print(f"{2 * rings + 1:2d} tensors: {push(end, 1.0):6,} calls")
    # --8<-- [end:paths]


# --8<-- [start:pass-on]
def pass_on(order):
    """Each tensor hands its gradient on, once; returns all gradients."""
    gradients = {order[0]: 1.0}
    for tensor in order:
        for parent, pull in tensor.edges:
            part = pull(gradients[tensor])
            gradients[parent] = gradients.get(parent, 0) + part
    return gradients


def as_found(root):
    """The root, its parents, then their parents: breadth first."""
    order = [root]
    for tensor in order:  # which grows meanwhile
        for parent, _ in tensor.edges:
            if parent not in order:
                order.append(parent)
    return order


# --8<-- [end:pass-on]


# --8<-- [start:order]
def topological_order(root):
    """All tensors that root depends on, each before its parents."""
    order, seen, stack = [], set(), [(root, False)]
    while stack:
        tensor, parents_done = stack.pop()
        if parents_done:
            order.append(tensor)
        elif tensor not in seen:
            seen.add(tensor)
            stack.append((tensor, True))
            stack.extend((parent, False) for parent, _ in tensor.edges)
    return order[::-1]


# --8<-- [end:order]


if __name__ == "__main__":
    # --8<-- [start:ring]
    for walk in (as_found, topological_order):
        gradients = pass_on(walk(z))
        print(f"{walk.__name__:18s} gradient in x {gradients[x]}")
    # --8<-- [end:ring]


# --8<-- [start:functions]
def tanh(a):
    """The hyperbolic tangent of each entry; the slope is 1 - tanh²(a)."""
    value = np.tanh(a.data)
    return node(value, (a, lambda g: g * (1 - value**2)))


def relu(a):
    """Each entry, or 0 where it is negative; the slope is 1 where a > 0."""
    return node(np.maximum(a.data, 0), (a, lambda g: g * (a.data > 0)))


# --8<-- [end:functions]


# --8<-- [start:arrays]
def matmul(a, b):
    """a @ b; from (..., n, k) and (..., k, m) to (..., n, m)."""
    a, b = as_tensor(a), as_tensor(b)
    pulls = (lambda g: g @ b.data.mT), (lambda g: a.data.mT @ g)
    return node(a.data @ b.data, (a, pulls[0]), (b, pulls[1]))


Tensor.__matmul__ = matmul
Tensor.__rmatmul__ = lambda a, b: matmul(b, a)


def total(a, axis=None, keepdims=False):
    """The sum along an axis, or of all; each term gets the gradient."""

    def pull(g):
        g = g if axis is None or keepdims else np.expand_dims(g, axis)
        return np.broadcast_to(g, a.shape)

    return node(a.data.sum(axis=axis, keepdims=keepdims), (a, pull))


# --8<-- [end:arrays]


# --8<-- [start:backward]
def unbroadcast(g, shape):
    """Sum g, an array, over the axes along which shape was repeated."""
    new = g.ndim - len(shape)
    stretched = [new + i for i, size in enumerate(shape) if size == 1]
    axes = (*range(new), *stretched)
    return g.sum(axis=axes).reshape(shape) if axes else g


def backward(root, gradient=1.0):
    """Add to the grad of every leaf the gradient of root in it.

    gradient is root's upstream gradient, of root's shape.
    """
    assert np.shape(gradient) == root.shape, f"root's shape: {root.shape}"
    gradients = {root: np.asarray(gradient, dtype=float)}
    for tensor in topological_order(root):
        g = gradients.pop(tensor)
        for parent, pull in tensor.edges:
            part = unbroadcast(pull(g), parent.shape)
            before = gradients.get(parent)
            gradients[parent] = part if before is None else before + part
        if not tensor.edges:
            tensor.grad = g + (0 if tensor.grad is None else tensor.grad)


# --8<-- [end:backward]


if __name__ == "__main__":
    # --8<-- [start:repeated]
    row = Tensor([[1.0, 2.0, 3.0]], requires_grad=True)  # (1, 3)
    column = Tensor([[2.0], [4.0]], requires_grad=True)  # (2, 1)
    backward(total(row * column + row))  # of shape (2, 3)
    print("gradient in the row", row.grad, "in the column", column.grad.T)
    # --8<-- [end:repeated]

    # --8<-- [start:digits]
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    X, targets = pixels / 16, np.eye(10)[labels]  # (1797, 64), (1797, 10)
    shapes = (64, 32), (32,), (32, 10), (10,)

    def squared_error(w1, b1, w2, b2):
        error = tanh(X @ w1 + b1) @ w2 + b2 - targets
        return total(error * error) / len(X)

    # --8<-- [end:digits]

    # --8<-- [start:train]
    rng = np.random.default_rng(0)
    parameters = [Tensor(0.1 * rng.normal(size=s), True) for s in shapes]
    print(f"best constant outputs  {targets.var(axis=0).sum():.2f}")
    for step in range(201):
        loss = squared_error(*parameters)
        backward(loss)
        if step in (0, 20, 200):
            print(f"after {step:3d} steps        {loss.data:.2f}")
        for p in parameters:
            p.data, p.grad = p.data - 0.1 * p.grad, None
    # --8<-- [end:train]

    # --8<-- [start:trial]
    backward(squared_error(*parameters))
    w1, gaps = parameters[0], []
    for j in range(32):  # the weights of the pixel in row 3 and column 4
        move = np.zeros(w1.shape)
        move[28, j] = 1e-5
        up, down = (
            squared_error(Tensor(w1.data + change), *parameters[1:]).data
            for change in (move, -move)
        )
        slope = (up - down) / 2e-5
        gaps.append(abs(slope - w1.grad[28, j]))
    print(f"{sum(p.data.size for p in parameters):,} gradients in one walk")
    print(f"32 of them by 64 losses: they differ by {max(gaps):.7f}")
    # --8<-- [end:trial]

    # --8<-- [start:torch-same]
    import torch

    arrays = [rng.normal(size=s) for s in ((5, 3), (3, 4), (4,))]
    ours = [Tensor(array, requires_grad=True) for array in arrays]
    theirs = [torch.tensor(array, requires_grad=True) for array in arrays]

    def graph(a, b, c, tanh):
        h = tanh(a @ b + c)
        return h * (h + 1.0) / (h * h + 2.0)

    backward(total(graph(*ours, tanh)))
    graph(*theirs, torch.tanh).sum().backward()
    for a, b in zip(ours, theirs, strict=True):
        gap = np.abs(a.grad - b.grad.numpy()).max()
        print(f"{a.shape!s:6s}  largest difference {gap:.12f}")
    # --8<-- [end:torch-same]

    # --8<-- [start:twice]
    def careless_backward(root):
        """As backward, but every tensor keeps its gradient."""
        root.grad = np.ones(root.shape)
        for tensor in topological_order(root):
            for parent, pull in tensor.edges:
                before = 0 if parent.grad is None else parent.grad
                parent.grad = before + pull(tensor.grad)

    for method in (careless_backward, backward):
        x = Tensor(2.0, requires_grad=True)
        h = x * x  # both losses go through h
        for loss in (h * 1.0, h * 10.0):
            method(loss)
            print(f"{method.__name__:17s}  gradient {x.grad:.0f}")
    # --8<-- [end:twice]

    # --8<-- [start:in-place]
    x = Tensor([1.0, 2.0], requires_grad=True)
    loss = total(x * x)
    x.data.flags.writeable = True  # else NumPy refuses the next line
    x.data *= 10  # between forward and backward
    backward(loss)
    print("gradient", x.grad, "instead of [2. 4.]")
    # --8<-- [end:in-place]

    # --8<-- [start:solution-sigmoid]
    def sigmoid(a):
        """1 / (1 + exp(-a)); with the result v, the slope is v * (1 - v)."""
        v = (1 + np.tanh(a.data / 2)) / 2
        return node(v, (a, lambda g: g * v * (1 - v)))

    x = Tensor([-1000.0, 0.0, 2.0], requires_grad=True)
    backward(total(sigmoid(x)))
    print("gradients", x.grad.round(3))
    # --8<-- [end:solution-sigmoid]

    # --8<-- [start:solution-rings]
    for rings in (1, 2, 15):
        x = end = Tensor(1.0, requires_grad=True)
        for _ in range(rings):
            end = end + 0.5 * end
        walks = as_found(end), topological_order(end)
        wrong, right = (pass_on(walk)[x] for walk in walks)
        print(f"{rings:2d} rings: {wrong:.2f}, right is {right:.2f}")
    # --8<-- [end:solution-rings]

    # --8<-- [start:solution-largest]
    def largest(a):
        """The largest of all entries; those that tie share the gradient."""
        best = a.data == a.data.max()
        return node(a.data.max(), (a, lambda g: g * best / best.sum()))

    x = Tensor([3.0, 1.0, 3.0], requires_grad=True)
    backward(largest(x))
    print("ours   ", x.grad)
    y = torch.tensor(x.data, requires_grad=True)
    tops = {"max": y.max(), "amax": y.amax(0), "max(0)": y.max(0).values}
    for name, top in tops.items():
        print(f"{name:7s}", torch.autograd.grad(top, y)[0].numpy())
    # --8<-- [end:solution-largest]
