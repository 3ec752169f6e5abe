"""Time and memory of the all-pairs losses, value and gradient: every option against its dense form.

    MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=100000000000 MALLOC_ARENA_MAX=1 \
        python experiments/allpairs/bench.py [--batch 16384] [--rounds 3] [--chunk 512] [--only TEXT] [--memory-only]

Dense and chunked run in turns (A B A B ...), ratios are medians over the pairs, of CPU seconds of the process and of
wall seconds: on a shared machine the first hold best, the seconds themselves do not. "Dense" is the reference with the
same options; "lean dense" is the shortest dense form without any, timed in the first row of each loss.
"""

import argparse
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np

from mmrep.objectives import allpairs


def inputs(batch: int, dim: int, labels: int) -> dict:
    """Correlated unit embeddings, groups of about four, label vectors, a tenth of the rows absent; f32, seeded."""
    rng = np.random.default_rng(0)
    unit = lambda x: (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)  # noqa: E731
    u = rng.standard_normal((batch, dim))
    return {
        "u": unit(u), "v": unit(u + 2 * rng.standard_normal((batch, dim))),
        "group": rng.integers(-1, batch // 4, batch).astype(np.int32),
        "soft": (rng.random((batch, labels)) > 0.8).astype(np.float32), "valid": rng.random(batch) > 0.1,
    }


def lean(loss: str, args: list) -> jax.Array:
    """The shortest dense form without options, as the peers write it: a diagonal, no target matrix."""
    u, v, scale = args[:3]
    n, diagonal = u.shape[0], (u * v).sum(1) * scale
    logits = scale * (u @ v.T)
    if loss == "infonce":
        return (0.5 * (jax.nn.logsumexp(logits, 1) + jax.nn.logsumexp(logits, 0)) - diagonal).mean()
    return (jax.nn.softplus(logits + args[3]).sum() - diagonal.sum()) / n - args[3]


def cases(data: dict) -> dict:
    """name -> (loss function of (u, v, scale, bias, method), keyword options)."""
    found = {}
    for loss in ("infonce", "sigmoid"):
        for names in ((), ("group",), ("soft",), ("valid",), ("group", "valid"), ("soft", "valid")):
            found[f"{loss} {'+'.join(names) or 'plain'}"] = (loss, {name: jnp.asarray(data[name]) for name in names})
    return found


def compiled(loss: str, method: str, options: dict, data: dict, chunk: int):
    """The compiled value_and_grad and its arguments."""
    args = [jnp.asarray(data["u"]), jnp.asarray(data["v"]), jnp.float32(20.0)]
    args += [jnp.float32(-8.0)] if loss == "sigmoid" else []

    def value(args, options):
        if method == "lean":
            return lean(loss, args)
        return getattr(allpairs, loss)(*args, **options, method=method, chunk=chunk)

    return jax.jit(jax.value_and_grad(value)).lower(args, options).compile(), (args, options)


def timed(run, args):
    """(CPU seconds, wall seconds) and the result."""
    start, cpu = time.perf_counter(), time.process_time()
    out = jax.block_until_ready(run(*args))
    return (time.process_time() - cpu, time.perf_counter() - start), out


def main() -> None:
    parser = argparse.ArgumentParser()
    for name, default in (("batch", 16384), ("dim", 256), ("labels", 14), ("rounds", 3), ("chunk", allpairs.CHUNK)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--only", default="")
    parser.add_argument("--memory-only", action="store_true")
    flags = parser.parse_args()
    data = inputs(flags.batch, flags.dim, flags.labels)
    print("| loss, options | dense MiB | chunked MiB | dense CPU s | chunked CPU s | CPU ratio | wall ratio "
          "| CPU ratio to lean dense | difference |")
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    base = {}
    for name, (loss, options) in cases(data).items():
        if flags.only and flags.only not in name:
            continue
        (dense, args), (ours, _) = (compiled(loss, m, options, data, flags.chunk) for m in ("dense", "chunked"))
        dense_mib, ours_mib = (run.memory_analysis().temp_size_in_bytes / 2**20 for run in (dense, ours))
        if flags.memory_only:
            print(f"| {name} | {dense_mib:.0f} | {ours_mib:.1f} | | | | | | |", flush=True)
            continue
        (_, want), (_, got) = timed(dense, args), timed(ours, args)
        worst = max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in zip(*map(jax.tree.leaves, (got, want))))
        del want, got
        forms = {"dense": dense, "ours": ours}
        if loss not in base:
            forms["lean"] = compiled(loss, "lean", {}, data, flags.chunk)[0]
            timed(forms["lean"], (args[0], {}))
        rounds = [{key: timed(run, (args[0], {}) if key == "lean" else args)[0] for key, run in forms.items()}
                  for _ in range(flags.rounds)]
        middle = lambda fn: statistics.median(map(fn, rounds))  # noqa: E731
        if "lean" in forms:
            base[loss] = middle(lambda row: row["lean"][0])
        cpu, wall = (middle(lambda row: row["ours"][i] / row["dense"][i]) for i in (0, 1))
        dense_s, ours_s = (middle(lambda row: row[key][0]) for key in ("dense", "ours"))
        print(f"| {name} | {dense_mib:.0f} | {ours_mib:.1f} | {dense_s:.2f} | {ours_s:.2f} | {cpu:.2f} | {wall:.2f} "
              f"| {ours_s / base[loss]:.2f} | {worst:.1e} |", flush=True)


if __name__ == "__main__":
    main()
