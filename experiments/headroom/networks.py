"""What the headroom study reads a modality with: logistic regression on frozen features, and small supervised networks."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

STRENGTHS = (1e-4, 1e-2, 1.0)
Labels = dict[str, np.ndarray]  # factor -> i32[B, columns] of 0/1
Scores = dict[str, float]


def macro(target: np.ndarray, scores: np.ndarray) -> float:
    """Mean AUROC over columns."""
    from sklearn.metrics import roc_auc_score
    return float(np.mean([roc_auc_score(target[:, k], scores[:, k]) for k in range(target.shape[1])]))


def chance_se(target: np.ndarray) -> float:
    """Standard error of `macro` for scores that know nothing: that of a column (Mann & Whitney 1947), the mean over columns, for what
    columns of one factor share keeps their mean from being surer."""
    positive = target.sum(0)
    negative = len(target) - positive
    return float(np.sqrt((len(target) + 1) / (12.0 * positive * negative)).mean())


def probe(features: list[np.ndarray], labels: list[Labels], rows: np.ndarray) -> Scores:
    """Logistic regression on standardized features of (train, val, test), trained on the given training rows."""
    from sklearn.linear_model import LogisticRegression
    mean, spread = features[0][rows].mean(0), features[0][rows].std(0) + 1e-6
    train, val, test = ((f - mean) / spread for f in (features[0][rows], *features[1:]))
    out = {}
    for name in labels[0]:
        y, best = labels[0][name][rows], (-1.0, 0.5)
        for strength in STRENGTHS:
            fits = [LogisticRegression(C=strength, max_iter=200, tol=1e-3).fit(train, column) if 0 < column.sum() < len(column)
                    else None for column in y.T]
            read = [np.stack([fit.decision_function(x) if fit else np.zeros(len(x)) for fit in fits], -1) for x in (val, test)]
            on_val, on_test = (macro(label[name], scores) for label, scores in zip(labels[1:], read))
            best = (on_val, on_test) if on_val > best[0] else best  # by validation alone: among equals the first
        out[name] = best[1]
    return out


class Cnn(nn.Module):
    """Of an image u8[B,H,W,1]: the best place of every feature (max), and a coarse map for where it is."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = x.astype(jnp.float32) / 127.5 - 1
        x = nn.gelu(nn.Conv(32, (5, 5))(x - x.mean((1, 2, 3), keepdims=True)))
        x = nn.gelu(nn.Conv(64, (3, 3), strides=2)(x))
        x = nn.gelu(nn.Conv(96, (3, 3), strides=2)(x))
        x = nn.gelu(nn.Conv(96, (3, 3))(x))
        where = nn.Conv(8, (1, 1))(x).reshape(x.shape[0], -1)
        return jnp.concatenate([x.max((1, 2)), x.mean((1, 2)), where], -1)


class Cnn3d(nn.Module):
    """Of a volume u8[B,D,H,W,1]: small patterns at any voxel, larger ones on a coarser grid, and where they are."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = (x.astype(jnp.float32) - 60) / 45
        small = nn.gelu(nn.Dense(64)(windows(x, (4, 2, 2))).max((1, 2, 3)))
        x = nn.gelu(nn.Dense(64)(nn.gelu(nn.Dense(96)(windows(x, (4, 6, 6), 2)))))
        where = nn.Dense(8)(x).reshape(x.shape[0], -1)
        return jnp.concatenate([small, x.max((1, 2, 3)), x.mean((1, 2, 3)), where], -1)


def windows(x: jax.Array, size: tuple[int, int, int], stride: int = 1) -> jax.Array:
    """The voxels around each voxel as its channels, zeros outside: a convolution is then a product of matrices, whose gradient a CPU
    takes many times faster than a 3-D convolution's."""
    ends = [(slice(None), *(slice(i, i + side, stride) for i, side in zip(start, x.shape[1:4]))) for start in np.ndindex(*size)]
    x = jnp.pad(x, [(0, 0), *(((k - 1) // 2, k // 2) for k in size), (0, 0)])
    return jnp.concatenate([x[end] for end in ends], -1)


class Cnn1d(nn.Module):
    """Of a signal f32[B,T,leads]."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = x - x.mean(1, keepdims=True)
        x = nn.gelu(nn.Conv(64, (5,))(nn.gelu(nn.Conv(64, (9,))(x))))
        best = x.max(1)
        x = nn.gelu(nn.Conv(96, (9,))(nn.gelu(nn.Conv(96, (9,), strides=2)(x))))
        return jnp.concatenate([best, x.max(1), x.mean(1)], -1)


class Mlp(nn.Module):
    """Of a vector f32[B,D]."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return nn.gelu(nn.Dense(256)(nn.gelu(nn.Dense(256)(x))))


class Head(nn.Module):
    """A network and a logit a column of the labels."""

    body: nn.Module
    columns: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return nn.Dense(self.columns)(self.body(x))


def supervised(body: nn.Module, inputs: list[np.ndarray], labels: list[Labels], steps: int, seed: int, rate: float = 3e-3) -> Scores:
    """All factors at once, binary cross-entropy, batch 128, warm-up and cosine decay; AUROC of the test part."""
    y = np.concatenate(list(labels[0].values()), 1)
    model = Head(body, y.shape[1])
    params = model.init(jax.random.key(seed), inputs[0][:2])
    optimizer = optax.chain(optax.clip_by_global_norm(1.0),
                            optax.adamw(optax.warmup_cosine_decay_schedule(0, rate, steps // 10, steps), weight_decay=1e-4))
    state = optimizer.init(params)

    @jax.jit
    def step(params: dict, state: tuple, x: jax.Array, y: jax.Array) -> tuple:
        def loss(p: dict) -> jax.Array:
            return optax.sigmoid_binary_cross_entropy(model.apply(p, x), y).sum(-1).mean()
        updates, state = optimizer.update(jax.grad(loss)(params), state, params)
        return optax.apply_updates(params, updates), state

    generator, apply = np.random.default_rng(seed), jax.jit(model.apply)
    for _ in range(steps):
        rows = generator.integers(len(y), size=128)
        params, state = step(params, state, inputs[0][rows], y[rows])
    read = np.concatenate([apply(params, inputs[2][i:i + 256]) for i in range(0, len(inputs[2]), 256)])
    ends = np.cumsum([columns.shape[1] for columns in labels[0].values()])[:-1]
    return {name: macro(labels[2][name], scores) for name, scores in zip(labels[0], np.split(read, ends, axis=1))}


def untrained(module: nn.Module, inputs: list[np.ndarray], seed: int, read: Callable = lambda x: x) -> list[np.ndarray]:
    """Features of a random network."""
    params = module.init(jax.random.key(seed), inputs[0][:2])
    apply = jax.jit(lambda x: read(module.apply(params, x)))
    return [np.concatenate([apply(x[i:i + 256]) for i in range(0, len(x), 256)]) for x in inputs]
