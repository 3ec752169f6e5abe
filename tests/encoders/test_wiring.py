"""What reaches what: positions, masks, drops and recomputation, beside numpy and gradients."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmrep.decoders.masked import MaskedDecoder
from mmrep.encoders import PatchTransformer, TextTransformer
from mmrep.encoders.layers import Block, Stack
from mmrep.encoders.vit import sincos
from mmrep.fusion.cross_attention import CrossAttention

TINY = dict(width=8, heads=2)
IDS = jnp.array([[1, 5, 3, 6, 0]])


def keys(n, seed=0):
    return jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(seed), jnp.arange(n))


def normal(*shape, seed=7):
    return jax.random.normal(jax.random.key(seed), shape)


def layer_norm(x):
    x = np.asarray(x, np.float64)
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)


def bilinear(table, grid):
    """f[h, w, D] -> f[*grid, D] with half-pixel centers; a triangle as wide as the larger of the two pixels."""
    for axis, n in enumerate(grid):
        scale = table.shape[axis] / n
        centers = (np.arange(n)[:, None] + 0.5) * scale - 0.5
        weights = np.maximum(0, 1 - np.abs(np.arange(table.shape[axis]) - centers) / max(scale, 1))
        table = np.moveaxis(np.tensordot(weights / weights.sum(1, keepdims=True), table, (1, axis)), 0, axis)
    return table


def reads(f, *inputs):
    """For each input f[1, M, C]: bool[N, M], whether token n of f(*inputs): f[1, N, D] depends on its token m."""
    slopes = jax.jit(jax.jacrev(f, tuple(range(len(inputs)))))(*inputs)
    return [np.abs(slope[0, :, :, 0]).max((1, 3)) > 1e-7 for slope in slopes]


# ---- positions -----------------------------------------------------------------------------------------------------

def test_without_blocks_text_tokens_are_the_norm_of_embedding_plus_position():
    m = TextTransformer(vocab=9, length=8, depth=0, **TINY)
    p = m.init(jax.random.key(0), IDS)["params"]
    want = layer_norm(np.asarray(p["embed"]["embedding"])[np.asarray(IDS)] + np.asarray(p["positions"])[:, :5])
    assert np.allclose(m.apply({"params": p}, IDS).tokens, want, atol=1e-4)


@pytest.mark.parametrize("positions, grid", [("learned", (2, 3)), ("learned", (4, 6)), ("learned", (3, 2)), ("sincos", (3, 2))])
def test_without_blocks_patch_tokens_are_the_norm_of_projection_plus_position_at_any_grid(positions, grid):
    m = PatchTransformer(patch=(2, 2), grid=(2, 3), depth=0, positions=positions, **TINY)
    p = m.init(jax.random.key(0), jnp.zeros((1, 4, 6, 1)))["params"]
    x = normal(1, 2 * grid[0], 2 * grid[1], 1)
    table = bilinear(np.asarray(p["positions"][0], np.float64), grid) if positions == "learned" else sincos(grid, 8)
    patches = np.asarray(x).reshape(grid[0], 2, grid[1], 2).swapaxes(1, 2).reshape(-1, 4)
    want = layer_norm(patches @ p["embed"]["kernel"] + p["embed"]["bias"] + table.reshape(-1, 8))
    assert np.allclose(m.apply({"params": p}, x).tokens[0], want, atol=1e-4)


def test_the_order_of_tokens_and_of_patches_changes_what_is_pooled():
    image = normal(1, 4, 4, 1)
    cases = [(TextTransformer(vocab=9, length=8, depth=1, **TINY), IDS[:, :4], IDS[:, 3::-1])]
    cases += [(PatchTransformer(patch=(2, 2), depth=1, positions=p, **TINY), image, jnp.roll(image, 2, 1))
              for p in ("learned", "sincos")]  # rolled by a patch: the same patches elsewhere
    for m, x, permuted in cases:
        variables, apply = jax.jit(m.init)(jax.random.key(0), x), jax.jit(m.apply)
        a, b = (apply(variables, y).pooled for y in (x, permuted))
        assert np.abs(a - b).max() > 1e-3, m
        if "positions" in variables["params"]:  # nothing else knows the order
            variables["params"]["positions"] *= 0
            assert np.allclose(*(apply(variables, y).pooled for y in (x, permuted)), atol=1e-5)


def test_masked_patches_are_predicted_from_their_places():
    tokens, keep = normal(2, 3, 8), np.array([[0, 2, 5], [1, 3, 4]])
    m = MaskedDecoder(out=4, grid=(2, 3), depth=0, **TINY)
    p = m.init(jax.random.key(0), tokens, keep)["params"]
    x = np.broadcast_to(np.asarray(p["mask"]), (2, 6, 8)).copy()
    for i, ids in enumerate(keep):
        x[i, ids] = np.asarray(tokens[i] @ p["embed"]["kernel"] + p["embed"]["bias"])
    want = layer_norm(x + sincos((2, 3), 8)) @ np.asarray(p["head"]["kernel"]) + np.asarray(p["head"]["bias"])
    assert np.allclose(m.apply({"params": p}, tokens, keep), want, atol=1e-4)
    m = MaskedDecoder(out=4, grid=(2, 3), depth=1, **TINY)  # and through a block: no two holes are alike
    y = np.asarray(m.apply(m.init(jax.random.key(0), tokens, keep), tokens, keep))
    for i, ids in enumerate(keep):
        a, b, c = (y[i, n] for n in range(6) if n not in ids)
        assert min(np.abs(a - b).max(), np.abs(b - c).max(), np.abs(a - c).max()) > 1e-2


# ---- masks ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("causal, of_view, scan", [(False, False, False), (True, False, False), (False, True, False), (True, False, True)])
def test_a_causal_text_encoder_reads_to_the_left_another_one_both_ways_and_none_padding(causal, of_view, scan):
    n = np.arange(5)
    real, before = np.asarray(IDS[0] != 0), (n[:, None] >= n) if causal or of_view else True
    m = TextTransformer(vocab=9, length=5, depth=2, causal=causal, scan=scan, **TINY)
    p = jax.jit(m.init)(jax.random.key(0), IDS)["params"]
    found, = reads(lambda at: m.apply({"params": p | {"positions": at}}, IDS, causal=of_view).tokens, p["positions"])
    assert np.array_equal(found, (n[:, None] == n) | real & before)


@pytest.mark.parametrize("causal, scan", [(False, False), (True, False), (True, True)])
def test_fusion_reads_the_unpadded_tokens_before_and_the_unpadded_context(causal, scan):
    n = np.arange(5)
    mask, context_mask = jnp.array([[1, 0, 1, 1, 0]], bool), jnp.array([[0, 1, 1, 0]], bool)
    x, context = normal(1, 5, 6), normal(1, 4, 3, seed=8)
    m = CrossAttention(depth=2, scan=scan, **TINY)
    variables = jax.jit(m.init)(jax.random.key(0), x, mask, context, context_mask)
    own, other = reads(lambda x, c: m.apply(variables, x, mask, c, context_mask, causal), x, context)
    before = (n[:, None] >= n) if causal else True
    assert np.array_equal(own, (n[:, None] == n) | np.asarray(mask[0]) & before)
    assert np.array_equal(other, np.broadcast_to(context_mask[0], (5, 4)))


# ---- dropping ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("kind", ["dropout", "drop_path"])
def test_each_branch_of_a_block_is_dropped_by_its_own_draws_and_scaled_up(kind):
    n, rate = 1500, 0.25
    x, context = (jnp.broadcast_to(a, (n, *a.shape[1:])) for a in (normal(1, 3, 4), normal(1, 2, 4, seed=8)))
    m = Block(heads=2, **{kind: rate})
    p = m.init(jax.random.key(0), x[:1], context=context[:1])["params"]
    run = jax.jit(lambda p, keys, layer: m.apply({"params": p}, x, None, keys, layer, context)[0])
    ends, kept = {"attention": "out", "cross": "out", "mlp": "down"}, []
    for branch in ends:
        # the other branches add nothing, so that the difference to x is this one
        alone = p | {o: p[o] | {end: jax.tree.map(jnp.zeros_like, p[o][end])} for o, end in ends.items() if o != branch}
        added = np.asarray(run(alone, None, 0) - x)
        assert (np.abs(added) > 1e-4).all() and np.array_equal(added, np.broadcast_to(added[0], added.shape))
        for layer in (0, 1):
            share = np.asarray(run(alone, keys(n), layer) - x) / added
            keep = share > 0.5
            assert np.allclose(share, keep / (1 - rate), atol=1e-2)
            if kind == "drop_path":  # whole examples
                assert np.array_equal(keep, np.broadcast_to(keep[:, :1, :1], keep.shape))
            kept.append(keep[:, 0, 0])
            assert np.array_equal(keep, np.asarray(run(alone, keys(n), layer) - x) / added > 0.5)  # of the key alone
    # branches and layers: kept in 1 - rate of the examples, and no two together more often than by chance
    together = np.cov(np.array(kept, float))
    assert np.abs(np.mean(kept, 1) - (1 - rate)).max() < 4 * np.sqrt(rate * (1 - rate) / n)
    assert np.abs(together - np.diag(np.diag(together))).max() < 4 * rate * (1 - rate) / np.sqrt(n)


@pytest.mark.parametrize("kind", ["dropout", "drop_path"])
def test_encoders_drop_with_keys_only_and_scanned_layers_as_unrolled_ones(kind):
    for make, x in ((lambda **o: TextTransformer(vocab=9, length=5, depth=2, **TINY, **o), jnp.repeat(IDS, 6, 0)),
                    (lambda **o: PatchTransformer(patch=(2, 2), depth=2, **TINY, **o), jnp.repeat(normal(1, 4, 4, 1), 6, 0))):
        m, scanned, plain = make(**{kind: 0.5}), make(**{kind: 0.5}, scan=True), make()
        p = jax.jit(m.init)(jax.random.key(0), x)["params"]
        stack = {"blocks": jax.tree.map(lambda *a: jnp.stack(a), *(p["stack"][f"block{i:02d}"] for i in range(2))),
                 "norm": p["stack"]["norm"]}
        dropped, same = jax.jit(m.apply)({"params": p}, x, keys(6)).pooled, jax.jit(plain.apply)({"params": p}, x, keys(6)).pooled
        assert np.allclose(jax.jit(m.apply)({"params": p}, x).pooled, same, atol=1e-6)
        assert len(np.unique(dropped.round(4), axis=0)) > 3  # one input, six keys
        assert np.allclose(dropped, jax.jit(scanned.apply)({"params": p | {"stack": stack}}, x, keys(6)).pooled, atol=1e-5)


@pytest.mark.parametrize("pool", ["mean", "cls"])
def test_an_encoder_drops_a_random_share_of_its_tokens_in_training(pool):
    n = 1500
    m = PatchTransformer(patch=(2, 2), depth=0, drop=0.5, pool=pool, **TINY)
    x = jnp.broadcast_to(normal(1, 4, 8, 1), (n, 4, 8, 1))
    variables, first = m.init(jax.random.key(0), x[:1]), int(pool == "cls")
    whole = m.apply(variables, x)
    assert whole.tokens.shape[1] == 8 + first and "keep" not in whole.out
    for mask, left in ((None, 4), (0.75, 2), (0.0, 8)):  # a view's mask comes before `drop`
        e = m.apply(variables, x, keys(n), mask)
        keep = np.asarray(e.out.get("keep", np.tile(np.arange(8), (n, 1))))
        assert e.tokens.shape[1] == left + first and e.mask.shape == e.tokens.shape[:2] and keep.shape == (n, left)
        # without blocks, what is left are the whole's tokens
        assert np.allclose(e.tokens[:, first:], np.take_along_axis(np.asarray(whole.tokens)[:, first:], keep[..., None], 1), atol=1e-5)
        there = (keep[..., None] == np.arange(8)).any(1)
        p = left / 8
        assert np.abs(there.mean(0) - p).max() <= 4 * np.sqrt(p * (1 - p) / n)  # every place as often
        assert len(np.unique(keep, axis=0)) == {4: 70, 2: 28, 8: 1}[left]  # every choice of so many comes up


# ---- the stack -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("scan", [False, True])
def test_remat_recomputes_every_block_and_only_with_it(scan):
    ones = jnp.ones((1, 4, 6)), jnp.ones((1, 4), bool)
    for make, inputs in ((lambda **o: TextTransformer(vocab=9, length=5, **o), (IDS,)),
                         (lambda **o: PatchTransformer(patch=(2, 2), **o), (jnp.ones((1, 4, 4, 1)),)),
                         (lambda **o: CrossAttention(**o), (*ones, *ones)),
                         (lambda **o: MaskedDecoder(out=4, grid=(2, 2), **o), (jnp.ones((1, 2, 8)), jnp.array([[0, 3]])))):
        for remat in (False, True):
            m = make(depth=3, remat=remat, scan=scan, **TINY)
            p = jax.eval_shape(m.init, jax.random.key(0), *inputs)["params"]
            program = str(jax.make_jaxpr(lambda p: m.apply({"params": p}, *inputs))(p))
            assert len(re.findall(r"(?:checkpoint|remat2?)\[", program)) == remat * (1 if scan else 3), type(m)  # a scan holds one body


def test_remat_with_scan_takes_less_memory():
    x, peak = jnp.ones((8, 32, 16)), {}
    for remat in (False, True):
        m = Stack(depth=8, heads=2, scan=True, remat=remat)
        p = jax.eval_shape(m.init, jax.random.key(0), x)["params"]
        grad = jax.jit(jax.grad(lambda p, m=m: m.apply({"params": p}, x)[0].sum()))
        peak[remat] = grad.lower(p).compile().memory_analysis().temp_size_in_bytes
    assert peak[True] < 0.7 * peak[False]
