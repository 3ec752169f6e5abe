"""The first step of the sigmoid loss by starting bias and batch size, against closed forms (Zhai et al. 2023, section 3.2)."""

from mmrep.sweeps import grid

SEEDS = {"smoke": 1, "small": (10, 11, 12), "paper": (10, 11, 12)}
BATCHES = {"smoke": (16, 64), "small": (16, 64, 256, 1024), "paper": (512, 4096, 16_384)}
BIASES = (0.0, -2.5, -5.0, -7.5, -10.0, -12.5)
SCALE = 10.0  # t' = log 10, as the paper starts
LATENTS = {"content": 8, "style": 0, "private": 4, "layers": 2, "candidates": 1000}  # those of configs/toys/pairs.py


def sweep(scale: str) -> list:
    return grid({"embeddings": ("orthogonal", "untrained"), "batch": BATCHES[scale], "bias": BIASES})


def embedded(kind: str, n: int, seed: int) -> tuple:
    """Unit vectors u, v f[n, D]: 2 n orthogonal ones; or those of two untrained encoders, each view in a cone of its own."""
    import jax
    import jax.numpy as jnp

    from mmrep.data.phantom import identifiable
    from mmrep.encoders import ENCODERS

    if kind == "orthogonal":
        return jnp.eye(n, 2 * n), jnp.eye(n, 2 * n, n)
    rows, found = identifiable("train", n=n, **LATENTS).block(range(n)), []
    for view, key in zip(("x1", "x2"), jax.random.split(jax.random.key(seed))):
        encoder = ENCODERS["perceptron"](widths=(256,) * 4 + (128,), activation="relu", start="normal")
        z = encoder.apply(encoder.init(key, rows[view][:1]), rows[view]).pooled
        found.append(z / jnp.linalg.norm(z, axis=1, keepdims=True))
    return tuple(found)


def simulate(point: dict, seed: int) -> dict[str, float]:
    """{"sigmoid": first loss, "sigmoid/chunked": of the form that stores no pair matrix, "sigmoid/slope": dL/db, "softmax": InfoNCE}."""
    import jax
    import jax.numpy as jnp

    from mmrep.objectives.allpairs import infonce, sigmoid

    u, v = embedded(point["embeddings"], point["batch"], seed)
    loss, slope = jax.value_and_grad(lambda b: sigmoid(u, v, SCALE, b, method="dense"))(jnp.float32(point["bias"]))
    tiles = sigmoid(u, v, SCALE, jnp.float32(point["bias"]), method="chunked", chunk=max(point["batch"] // 4, 8))
    return {"sigmoid": float(loss), "sigmoid/slope": float(slope), "sigmoid/chunked": float(tiles), "softmax": float(infonce(u, v, SCALE))}
