"""Encoders: shapes, invariances, and a naive attention."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmrep.core import tree
from mmrep.encoders import PatchTransformer, TextTransformer
from mmrep.encoders.layers import Attention, Pool, drop_path, dropout
from mmrep.encoders.vit import drop_tokens, patchify, sincos

SMALL = dict(width=16, depth=2, heads=2)


def keys(n=2):
    return jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(0), jnp.arange(n))


@pytest.mark.parametrize("shape, patch", [((12, 3), (4,)), ((8, 12, 1), (4, 4)), ((4, 8, 6, 1), (2, 4, 3))])
def test_patchify_is_row_major_in_1_2_and_3_dimensions(shape, patch):
    x = jnp.arange(2 * np.prod(shape), dtype=jnp.float32).reshape(2, *shape)
    patches, grid = patchify(x, patch)
    assert patches.shape == (2, np.prod(grid), np.prod(patch) * shape[-1])
    first = x[0][tuple(slice(p) for p in patch)].reshape(-1)
    last = x[0][tuple(slice(-p, None) for p in patch)].reshape(-1)
    assert np.array_equal(patches[0, 0], first) and np.array_equal(patches[0, -1], last)
    assert np.array_equal(np.sort(patches, None), np.arange(x.size))  # every entry once
    with pytest.raises(ValueError, match="multiple of the patch"):
        patchify(x[:, 1:], patch)


def test_attention_is_softmax_of_scaled_products():
    x, c = jax.random.normal(jax.random.key(0), (2, 3, 8)), jax.random.normal(jax.random.key(1), (2, 5, 8))
    mask = jnp.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], bool)[:, None, None]
    module = Attention(2)
    p = module.init(jax.random.key(2), x, c)["params"]
    y, weights = module.apply({"params": p}, x, c, mask)
    q = np.asarray(x) @ p["q"]["kernel"]
    k, v = np.split(np.asarray(c) @ p["kv"]["kernel"], 2, -1)
    out = np.zeros((2, 3, 8))
    for b in range(2):
        for h in range(2):
            s = slice(4 * h, 4 * h + 4)
            for i in range(3):
                z = np.exp([q[b, i, s] @ k[b, j, s] / 2 if mask[b, 0, 0, j] else -np.inf for j in range(5)])
                assert np.allclose(weights[b, h, i], z / z.sum(), atol=1e-6)
                out[b, i, s] = (z / z.sum()) @ v[b, :, s]
    assert np.allclose(y, out @ p["out"]["kernel"], atol=1e-5)


@pytest.mark.parametrize("pool", ["cls", "mean", "map"])
@pytest.mark.parametrize("positions", ["learned", "sincos"])
def test_image_encoder_gives_every_intermediate(pool, positions):
    m = PatchTransformer(patch=(4, 4), pool=pool, positions=positions, **SMALL)
    x = jnp.ones((2, 8, 8, 1))
    e = m.apply(m.init(jax.random.key(0), x), x)
    n = 4 + (pool == "cls")
    assert e.pooled.shape == (2, 16) and e.tokens.shape == (2, n, 16) and e.mask.all()
    assert {"block00", "block01", "attention00", "attention01"} <= set(e.out)
    assert e.out["attention00"].shape == (2, 2, n, n) and e.out["block01"].shape == (2, n, 16)


def test_scan_and_remat_equal_the_plain_stack():
    x = jax.random.normal(jax.random.key(1), (2, 8, 8, 1))
    plain = PatchTransformer(patch=(4, 4), **SMALL)
    p = plain.init(jax.random.key(0), x)["params"]
    blocks = [p["stack"].pop(f"block{i:02d}") for i in range(2)]
    stacked = p | {"stack": p["stack"] | {"blocks": jax.tree.map(lambda *a: jnp.stack(a), *blocks)}}
    p["stack"] |= {f"block{i:02d}": b for i, b in enumerate(blocks)}

    def value_and_grad(m, p):
        return jax.value_and_grad(lambda p: (m.apply({"params": p}, x).pooled ** 2).sum())(p)

    v, g = value_and_grad(plain, p)
    for options in ({"scan": True}, {"scan": True, "remat": True}, {"remat": True}):
        m = PatchTransformer(patch=(4, 4), **SMALL, **options)
        own = stacked if options.get("scan") else p
        assert tree.paths(m.init(jax.random.key(0), x)["params"]) == tree.paths(own)
        w, h = value_and_grad(m, own)
        assert np.isclose(v, w, rtol=1e-5)
        assert np.allclose(g["embed"]["kernel"], h["embed"]["kernel"], rtol=1e-4, atol=1e-6)


def test_learned_positions_are_resized_for_another_grid():
    m = PatchTransformer(patch=(4, 4), grid=(2, 2), **SMALL)
    variables = m.init(jax.random.key(0), jnp.ones((1, 8, 8, 1)))
    assert variables["params"]["positions"].shape == (1, 2, 2, 16)
    assert m.apply(variables, jnp.ones((1, 16, 8, 1))).tokens.shape == (1, 8, 16)
    same = PatchTransformer(patch=(4, 4), grid=(4, 2), **SMALL).init(jax.random.key(0), jnp.ones((1, 8, 8, 1)))
    assert same["params"]["positions"].shape == (1, 4, 2, 16)


def test_sincos_depends_on_both_axes():
    table = sincos((3, 4), 16)[0]
    assert table.shape == (12, 16) and len(np.unique(table.round(5), axis=0)) == 12


def test_dropped_tokens_are_the_kept_ones_in_order_and_follow_the_example():
    x = jnp.arange(24.0).reshape(2, 12, 1)
    kept, ids = drop_tokens(x, 0.75, keys())
    assert ids.shape == (2, 3) and (jnp.diff(ids, axis=1) > 0).all()
    assert np.array_equal(kept[:, :, 0], np.take_along_axis(np.asarray(x[:, :, 0]), np.asarray(ids), 1))
    swapped, _ = drop_tokens(x[::-1], 0.75, keys()[::-1])
    assert np.array_equal(swapped[::-1], kept)


def test_random_drops_keep_the_mean_and_need_keys():
    many = keys(4000)
    x = jnp.ones((4000, 2, 3))
    for fn in (dropout, drop_path):
        y = fn(x, 0.25, many, 3)
        assert abs(float(y.mean()) - 1) < 0.05 and set(np.unique(y.round(4))) == {0.0, np.float32(1.3333)}
        assert fn(x, 0.25, None, 3) is x
    assert (drop_path(x, 0.25, many, 3).std((1, 2)) == 0).all()


@pytest.mark.parametrize("pool", ["cls", "last", "mean", "map"])
def test_padding_changes_nothing_and_causal_hides_the_future(pool):
    ids = jnp.array([[1, 5, 6, 2, 0, 0]])
    m = TextTransformer(vocab=9, length=8, pool=pool, **SMALL)
    variables = m.init(jax.random.key(0), ids)
    short, long = m.apply(variables, ids[:, :4]), m.apply(variables, ids)
    assert np.allclose(short.pooled, long.pooled, atol=1e-5) and np.array_equal(long.mask[0], ids[0] != 0)
    changed = m.apply(variables, ids.at[0, 3].set(7), causal=True).tokens
    assert np.allclose(changed[0, :3], m.apply(variables, ids, causal=True).tokens[0, :3], atol=1e-5)
    assert not np.allclose(changed[0, 3], m.apply(variables, ids, causal=True).tokens[0, 3], atol=1e-3)
    with pytest.raises(ValueError, match="longer than the encoder"):
        m.apply(variables, jnp.ones((1, 9), jnp.int32))


def test_bfloat16_computes_with_float32_params():
    x = jax.random.normal(jax.random.key(1), (2, 8, 8, 1))
    m = PatchTransformer(patch=(4, 4), dtype=jnp.bfloat16, pool="map", **SMALL)
    variables = m.init(jax.random.key(0), x)
    assert {a.dtype for a in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    e = m.apply(variables, x)
    assert e.tokens.dtype == jnp.bfloat16
    full = PatchTransformer(patch=(4, 4), pool="map", **SMALL).apply(variables, x)
    assert np.allclose(e.pooled.astype(jnp.float32), full.pooled, atol=0.15)


def test_unknown_options_name_the_valid_ones():
    x = jnp.ones((1, 8, 8, 1))
    for options, valid in (({"pool": "max"}, "cls, last, mean, map"), ({"positions": "rope"}, "learned, sincos")):
        with pytest.raises(ValueError, match=valid):
            PatchTransformer(patch=(4, 4), **(SMALL | options)).init(jax.random.key(0), x)


def test_last_pools_the_last_unpadded_token():
    x = jnp.arange(12.0).reshape(2, 3, 2)
    y = Pool("last", 1).apply({}, x, jnp.array([[1, 1, 0], [1, 1, 1]], bool))
    assert np.array_equal(y, [x[0, 1], x[1, 2]])
