"""Mean cosine of random networks' outputs, layer by layer: activations with and without biases (Liang et al. 2022, figure 2b)."""

from mmrep.sweeps import fixed, grid, product

SEEDS = {"smoke": 1, "small": (20, 21, 22), "paper": (20, 21, 22)}  # drawn after the thresholds stood; 0 to 2 came before
DEPTH, WIDTH = 25, 512
INPUTS = {"smoke": 64, "small": 1024, "paper": 1024}  # the paper's number


def sweep(scale: str) -> list:
    return product(grid({"activation": ("sigmoid", "relu", "leaky_relu", "tanh", "linear"), "bias": (True, False)}),
                   fixed({"inputs": INPUTS[scale]}))


def simulate(point: dict, seed: int) -> dict[str, float]:
    """{"cos/01": mean cosine of pairs after layer 1, ...}: the library's untrained encoder on Gaussian vectors."""
    import jax

    from mmrep.encoders import ENCODERS
    from mmrep.metrics.geometry import anisotropy

    encoder = ENCODERS["perceptron"](widths=(WIDTH,) * DEPTH, activation=point["activation"], bias=point["bias"], last=True, start="normal")
    start, drawn = jax.random.split(jax.random.key(seed))
    x = jax.random.normal(drawn, (point["inputs"], WIDTH))
    out = encoder.apply(encoder.init(start, x), x).out
    return {f"cos/{i + 1:02d}": anisotropy(jax.device_get(out[f"layer{i:02d}"])) for i in range(DEPTH)}
