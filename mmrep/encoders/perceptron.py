"""The plain multilayer perceptron of toy studies: no residuals, no norms, every layer's output kept."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mmrep.core.names import nearest
from mmrep.core.types import Encoded

Array = jax.Array
ACTIVATIONS: dict[str, Callable] = {"relu": nn.relu, "leaky_relu": nn.leaky_relu, "tanh": jnp.tanh, "sigmoid": nn.sigmoid, "gelu": nn.gelu,
                                    "linear": lambda x: x}
STARTS = ("kaiming", "normal", "decay", "torch")


def decaying(rate: float) -> Callable:
    """U diag(e^{-rate i}) V, with U, V random orthogonal: a start whose singular values fall (Jing et al. 2022, section 5)."""

    def init(key: Array, shape: tuple[int, int], dtype: Any = jnp.float32) -> Array:
        a, b = jax.random.split(key)
        n = min(shape)
        u = jnp.linalg.qr(jax.random.normal(a, (shape[0], n)))[0]
        v = jnp.linalg.qr(jax.random.normal(b, (shape[1], n)))[0]
        return ((u * jnp.exp(-rate * jnp.arange(n))) @ v.T).astype(dtype)

    return init


def evenly(bound: float) -> Callable:
    """Uniform in +-bound."""
    return lambda key, shape, dtype=jnp.float32: jax.random.uniform(key, shape, dtype, -bound, bound)


class Perceptron(nn.Module):
    """Layers of the given widths, x -> act(x W + b); the last one is linear unless `last`.

    activation: relu, leaky_relu (slope 0.01), tanh, sigmoid, gelu or linear. start: "kaiming" (W uniform in +-sqrt(3 / fan_in), b 0),
    "normal" (W and b from N(0, 1 / fan_in), as Liang et al. 2022, figure 2b), "torch" (W and b uniform in +-1 / sqrt(fan_in), what
    PyTorch's linear layers start from) or "decay" (`decaying` at the rate `decay`). Its one token is the last layer's output;
    out["layer00"], ... are those of every layer.
    """

    widths: tuple[int, ...] = (128, 128, 128, 16)
    activation: str = "leaky_relu"
    last: bool = False
    bias: bool = True
    start: str = "kaiming"
    decay: float = 0.35
    dtype: Any = jnp.float32
    reads = 1  # axes of one example: its entries

    @nn.compact
    def __call__(self, x: Array, keys: Array | None = None, mask: float | None = None, causal: bool = False) -> Encoded:
        """x: f32[B, D]. Raises ValueError for another shape, an unknown activation or start, for a view's `mask` or `causal`."""
        if mask is not None or causal:
            raise ValueError("a vector takes no `mask` of dropped tokens and has no causal form")
        if x.ndim != 2:
            raise ValueError(f"a vector [B, D] is needed, not shape {x.shape}")
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"activation: unknown {self.activation!r}; {nearest(self.activation, ACTIVATIONS)}")
        if self.start not in STARTS or not self.widths:
            raise ValueError(f"start: must be one of {', '.join(STARTS)}, with at least one width; got {self.start!r}, {self.widths}")
        act, x, out = ACTIVATIONS[self.activation], x.astype(self.dtype), {}
        for i, width in enumerate(self.widths):
            fan_in = x.shape[-1]
            normal = nn.initializers.normal(fan_in**-0.5)
            even = evenly(fan_in**-0.5)
            kernel = {"kaiming": nn.initializers.variance_scaling(1.0, "fan_in", "uniform"), "normal": normal, "torch": even,
                      "decay": decaying(self.decay)}[self.start]
            bias = {"normal": normal, "torch": even}.get(self.start, nn.initializers.zeros)
            x = nn.Dense(width, use_bias=self.bias, dtype=self.dtype, kernel_init=kernel, name=f"layer{i:02d}",
                         bias_init=bias)(x)
            x = act(x) if i + 1 < len(self.widths) or self.last else x
            out[f"layer{i:02d}"] = x
        return Encoded(tokens=x[:, None], mask=jnp.ones((len(x), 1), bool), pooled=x, out=out)
