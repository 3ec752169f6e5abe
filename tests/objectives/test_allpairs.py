"""The all-pairs losses against float64 loops, closed forms, invariances; memory and sharding of the kernels."""

import functools
import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmrep.objectives import allpairs

N, D, K = 17, 8, 5  # odd: never a multiple of the tile
OPTIONS = [(), ("group",), ("soft",), ("valid",), ("group", "valid"), ("soft", "valid")]


def unit(rng, n, d=D):
    x = rng.standard_normal((n, d))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def make(names=(), n=N, seed=0):
    rng = np.random.default_rng(seed)
    u, v = unit(rng, n), unit(rng, n)
    every = {"group": rng.integers(-1, 4, n).astype(np.int32), "soft": rng.integers(0, 2, (n, K)).astype(np.float32),
             "valid": rng.random(n) > 0.3}
    return u, v, {name: every[name] for name in names}


def loop_infonce(u, v, s, group=None, soft=None, valid=None, direction=0.5, smoothing=0.0, soft_temperature=1.0,
                 keys=()):
    """Value and gradients (u, v, s) in float64, one pair at a time over the present rows."""
    u, v = u.astype(np.float64), v.astype(np.float64)
    rows = [i for i in range(len(u)) if valid is None or valid[i]]
    n, grad_u, grad_v, grad_s, value = len(rows), np.zeros_like(u), np.zeros_like(v), 0.0, 0.0
    for a, b, ga, gb, w, extra in ((u, v, grad_u, grad_v, direction, keys), (v, u, grad_v, grad_u, 1 - direction, ())):
        for i in rows:
            if soft is not None:
                t = {j: np.exp(soft[i].astype(float) @ soft[j] / soft_temperature) for j in rows}
            else:
                t = {j: float(i == j or (group is not None and group[i] >= 0 and group[i] == group[j])) for j in rows}
            t = {j: (1 - smoothing) * x / sum(t.values()) + smoothing / n for j, x in t.items()}
            near = [(b[j], gb[j], t[j]) for j in rows] + [(np.float64(k), np.zeros(D), 0.0) for k in extra]
            logits = np.array([s * (a[i] @ x) for x, _, _ in near])
            lse = np.log(np.exp(logits).sum())
            for (x, gx, target), logit in zip(near, logits):
                value += w * target * (lse - logit) / n
                g = w * (np.exp(logit - lse) - target) / n
                grad_s += g * logit / s
                ga[i] += g * s * x
                gx += g * s * a[i]
    return value, (grad_u, grad_v, grad_s)


def loop_sigmoid(u, v, s, b, group=None, soft=None, valid=None):
    u, v = u.astype(np.float64), v.astype(np.float64)
    rows = [i for i in range(len(u)) if valid is None or valid[i]]
    n, grad_u, grad_v, grad_s, grad_b, value = len(rows), np.zeros_like(u), np.zeros_like(v), 0.0, 0.0, 0.0
    for i in rows:
        for j in rows:
            t = float(i == j or (soft is None and group is not None and group[i] >= 0 and group[i] == group[j]))
            if soft is not None and i != j and soft[i].any() and soft[j].any():
                t = np.clip(soft[i] @ soft[j] / np.linalg.norm(soft[i]) / np.linalg.norm(soft[j]), 0, 1)
            logit = s * (u[i] @ v[j]) + b
            value += (t * np.log1p(np.exp(-logit)) + (1 - t) * np.log1p(np.exp(logit))) / n
            g = (1 / (1 + np.exp(-logit)) - t) / n
            grad_u[i] += g * s * v[j]
            grad_v[j] += g * s * u[i]
            grad_s, grad_b = grad_s + g * (logit - b) / s, grad_b + g
    return value, (grad_u, grad_v, grad_s, grad_b)


def close(got, want, tol=1e-5):
    """Largest difference of every leaf relative to the leaf's largest value."""
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert np.all(np.isfinite(a))
        assert np.abs(np.asarray(a, np.float64) - b).max() <= tol * max(np.abs(b).max(), 1e-12)


@functools.partial(jax.jit, static_argnums=(2, 3))
def step(args, options, loss, method):
    def value(args):
        return getattr(allpairs, loss)(*args, **options, method=method, chunk=4)

    return jax.value_and_grad(value)(args)


def run(loss, args, options, method="chunked"):
    """Value and gradients, compiled, every option traced."""
    return step(jax.tree.map(jnp.float32, tuple(args)), jax.tree.map(jnp.asarray, options), loss, method)


@pytest.mark.parametrize("names", OPTIONS)
def test_equals_float64_loops(names):
    u, v, options = make(names)
    more, keys = {}, ()
    if "valid" in names:
        more = {"direction": 0.3, "smoothing": 0.1, "soft_temperature": 0.5}
        keys = unit(np.random.default_rng(9), 6)
    for method in ("dense", "chunked"):
        got = run("infonce", (u, v, 12.0), {**options, **more, **({"extra_keys": keys} if more else {})}, method)
        close(got, loop_infonce(u, v, 12.0, **options, **more, keys=keys))
        close(run("sigmoid", (u, v, 12.0, -3.0), options, method), loop_sigmoid(u, v, 12.0, -3.0, **options))


@pytest.mark.parametrize("loss,scalars", [("infonce", (40.0,)), ("sigmoid", (40.0, -30.0))])
def test_learned_pairs_and_large_scales_stay_exact(loss, scalars):
    """Near convergence, where targets subtracted afterwards would cancel, and far from it, where exp would overflow."""
    loop = loop_infonce if loss == "infonce" else loop_sigmoid
    u, _, _ = make()
    v = u + 0.5 * unit(np.random.default_rng(5), N)
    v = (v / np.linalg.norm(v, axis=1, keepdims=True)).astype(np.float32)
    assert loop(u, v, *scalars)[0] < 1
    close(run(loss, (u, v, *scalars), {}), loop(u, v, *scalars), tol=3e-5)
    scalars = (100.0, *scalars[1:])
    close(run(loss, (u, -v, *scalars), {}), loop(u, -v, *scalars), tol=3e-5)


@pytest.mark.parametrize("loss,scalars", [("infonce", (9.0,)), ("sigmoid", (9.0, -4.0))])
def test_invariances(loss, scalars):
    for names in (("group", "valid"), ("soft", "valid")):
        u, v, options = make(names)
        keep = options["valid"]
        u[~keep], v[~keep] = np.nan, np.nan  # what an absent row holds never matters
        value, grads = run(loss, (u, v, *scalars), options)
        part = {name: x[keep] for name, x in options.items() if name != "valid"}
        want, want_grads = run(loss, (u[keep], v[keep], *scalars), part)
        close((value, [g[keep] for g in grads[:2]], grads[2:]), (want, want_grads[:2], want_grads[2:]))
        assert all(not np.any(g[~keep]) for g in map(np.asarray, grads[:2]))
        order = np.random.default_rng(1).permutation(N)
        moved, moved_grads = run(loss, (u[order], v[order], *scalars), {k: x[order] for k, x in options.items()})
        close((moved, moved_grads[:2]), (value, [np.asarray(g)[order] for g in grads[:2]]))
        for method in ("dense", "chunked"):
            nothing = run(loss, (u, v, *scalars), {**options, "valid": np.zeros(N, bool)}, method)
            assert all(not np.any(x) for x in map(np.asarray, jax.tree.leaves(nothing)))


def test_a_scale_above_its_limit_finds_the_way_back():
    from mmrep.objectives.contrastive import logit_scale

    hp = {"max_scale": jnp.float32(100.0)}
    slope = jax.grad(lambda p, sign: sign * logit_scale({"logit_scale": p}, hp))
    over, below = jnp.log(jnp.float32(150.0)), jnp.log(jnp.float32(50.0))
    assert np.isclose(logit_scale({"logit_scale": over}, hp), 100) and np.isclose(logit_scale({"logit_scale": below}, hp), 50)
    assert np.isclose(slope(over, 1.0), 100, rtol=1e-5) and slope(over, -1.0) == 0  # down it may go, further up not
    assert np.isclose(slope(below, 1.0), 50, rtol=1e-5) and np.isclose(slope(below, -1.0), -50, rtol=1e-5)


def test_closed_forms():
    n = 32
    same, axes = np.ones((n, D), np.float32) / np.sqrt(D), np.eye(n, 2 * n, dtype=np.float32)
    for method in ("dense", "chunked"):
        assert float(run("infonce", (same, same, 14.0), {}, method)[0]) == pytest.approx(np.log(n), rel=1e-6)
        # All embeddings orthogonal, b = -10: n log-loss terms of the positives, n (n - 1) of the negatives.
        other = np.roll(axes, n, axis=1)
        value = float(run("sigmoid", (axes, other, 10.0, -10.0), {}, method)[0])
        assert value == pytest.approx(np.logaddexp(0, 10) + (n - 1) * np.logaddexp(0, -10), rel=1e-6)


def test_bad_input_is_named():
    u, v, _ = make()
    s = jnp.float32(1.0)
    for wrong, words in (({"v": v[:-1]}, "u has shape"), ({"method": "fast"}, "'fast' is unknown"),
                         ({"valid": np.ones(3, bool)}, "valid has shape"), ({"soft": np.ones(N)}, "soft has shape"),
                         ({"extra_keys": np.ones((4, 3), np.float32)}, "extra_keys has shape")):
        with pytest.raises(ValueError, match=words):
            allpairs.infonce(**{"u": u, "v": v, "scale": s, **wrong})


@pytest.mark.slow
@pytest.mark.parametrize("loss, scalars", [("infonce", (20.0,)), ("sigmoid", (20.0, -8.0))])
@pytest.mark.parametrize("names", [("group", "valid"), ("soft", "valid")])
def test_chunked_equals_dense_at_4096(loss, scalars, names):
    """Eight chunks of the default size a side; the other tests cut into chunks of a few rows."""
    u, v, options = make(names, 4096)
    u, v = (np.concatenate([x, unit(np.random.default_rng(1), 4096, 248)], 1) for x in (u, v))
    u, v = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (u, v))
    args, options = tuple(map(jnp.float32, (u, v, *scalars))), jax.tree.map(jnp.asarray, options)
    dense, chunked = (jax.jit(jax.value_and_grad(
        lambda args, options, m=m: getattr(allpairs, loss)(*args, **options, method=m)))(args, options) for m in ("dense", "chunked"))
    close(chunked, dense)


@pytest.mark.parametrize("loss", ["infonce", "sigmoid"])
def test_temporaries_at_16384(loss):
    """Compiles only: at most 48 MiB where the dense forms need 3 to 6 GiB."""
    n, d, k = 16384, 256, 14
    shape = {"group": ((n,), jnp.int32), "soft": ((n, k), jnp.float32), "valid": ((n,), bool)}
    args = [jax.ShapeDtypeStruct(x, jnp.float32) for x in ((n, d), (n, d), ()) + (((),) if loss == "sigmoid" else ())]
    for names in ((), ("group", "valid"), ("soft", "valid")):
        options = {name: jax.ShapeDtypeStruct(*shape[name]) for name in names}
        fn = jax.value_and_grad(lambda args, options: getattr(allpairs, loss)(*args, **options))
        analysis = jax.jit(fn).lower(args, options).compile().memory_analysis()
        assert analysis.temp_size_in_bytes <= 48 * 2**20, names


SHARDED = """
import sys
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
sys.path.insert(0, sys.argv[1])
from test_allpairs import allpairs, close, full_reduces, make, step, unit

n = 48
keys = jnp.asarray(unit(np.random.default_rng(9), 6))
for shape in ((8, 1, 1), (4, 2, 1), (2, 2, 2)):
    mesh = jax.make_mesh(shape, ("data", "fsdp", "tensor"), axis_types=(AxisType.Auto,) * 3)
    for loss, names in (("infonce", ("group", "valid")), ("sigmoid", ("group", "valid")),
                        ("infonce", ("soft", "valid")),
                        ("sigmoid", ("soft", "valid")))[: 4 if shape == (8, 1, 1) else 2]:
        u, v, options = make(names, n)
        args = tuple(map(jnp.float32, (u, v, 9.0) + ((-4.0,) if loss == "sigmoid" else ())))
        options = jax.tree.map(jnp.asarray, options)
        if loss == "infonce":
            options |= {"direction": jnp.float32(0.3), "smoothing": jnp.float32(0.1), "extra_keys": keys}
        want = step(args, options, loss, "dense")
        place = lambda x: jax.device_put(x, NamedSharding(mesh, P(("data", "fsdp")) if x.shape[:1] == (n,) else P()))
        for method in ("auto", "ring") if shape != (4, 2, 1) else ("auto",):
            with jax.set_mesh(mesh):
                compiled = step.lower(*jax.tree.map(place, (args, options)), loss, method).compile()
                got = compiled(*jax.tree.map(place, (args, options)))
            close(got, want)
            text = compiled.as_text()
            assert not full_reduces(text, u.shape[1]), (shape, loss, names, method)
            assert ("reduce-scatter" in text) == (method == "auto"), (shape, loss, names, method)
            assert got[1][0].sharding.spec == P(("data", "fsdp"))
with jax.set_mesh(mesh):
    try:
        allpairs.sigmoid(jnp.ones((6, 4)), jnp.ones((6, 4)), 1.0, 0.0)
        raise SystemExit("no error")
    except ValueError as error:
        assert "6 rows, not a multiple of the 4 shards" in str(error), error
print("sharded forms agree")
"""


def full_reduces(hlo: str, dim: int) -> list[str]:
    """All-reduce instructions of compiled HLO with a result that is a matrix of `dim` columns."""
    lines = [line for line in hlo.splitlines() if re.search(r" all-reduce(-start)?\(", line)]
    return [line for line in lines if re.search(rf"f32\[\d+,{dim}\]", line.split(" all-reduce")[0])]


def test_sharded_forms_on_eight_devices():
    hit = "  %x = (f32[16]{0}, f32[48,8]{1,0}) all-reduce(%a, %b), to_apply=%add"
    assert full_reduces(hit, 8) and not full_reduces(hit.replace("f32[48,8]{1,0}", "f32[]"), 8)
    env = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}
    env["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[2]), env.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", SHARDED, str(Path(__file__).parent)]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 0 and "sharded forms agree" in done.stdout, done.stderr[-3000:]
