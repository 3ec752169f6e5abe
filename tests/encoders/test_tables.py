"""Encoders of tables, vectors and bags: beside numpy, and what must not change what they give."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmrep.encoders import BagTransformer, ResidualMLP, TableTransformer
from mmrep.encoders.bag import GatedAttention
from mmrep.measure import measure
from mmrep.run import assemble
from mmrep.train import train
from tests import runs, tiny

SMALL = dict(width=8, depth=1, heads=2)


def normal(*shape, seed=7):
    return jax.random.normal(jax.random.key(seed), shape)


def keys(n):
    return jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(0), jnp.arange(n))


def norm(x):
    x = np.asarray(x, np.float64)
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def finite(module, variables, x):
    """Whether the gradient of what is pooled is, of every leaf, finite."""
    grads = jax.jit(jax.grad(lambda p: (module.apply({"params": p}, x).pooled ** 2).sum()))(variables["params"])
    return all(np.isfinite(g).all() for g in jax.tree.leaves(grads))


# ---- tables --------------------------------------------------------------------------------------------------------

def test_without_blocks_a_table_s_tokens_are_the_norm_of_bias_plus_value_times_vector_or_looked_up():
    numbers, codes = normal(3, 2), jnp.array([[0, 4], [1, 0], [9, -1]])
    known = jnp.array([[1, 1], [0, 1], [1, 1]], jnp.uint8)
    m = TableTransformer(columns=2, cardinalities=(2, 5), masked=True, **SMALL | {"depth": 0})
    x = {"tabular": numbers, "mask/tabular": known, "category": codes}
    variables = jax.jit(m.init)(jax.random.key(0), x)
    p = {k: np.asarray(v, np.float64) for k, v in variables["params"].items() if not isinstance(v, dict)}
    rows = np.asarray(variables["params"]["embed"]["embedding"])
    assert rows.shape == (3 + 6, 8)  # a value more each, of what training did not have
    for i in range(3):
        want = [p["cls"][0, 0]]
        want += [p["bias"][0, j] + (numbers[i, j] * p["weight"][0, j] if known[i, j] else p["absent"][0, j]) for j in range(2)]
        want += [p["positions"][0, j] + rows[start + (code if 0 <= code < size else size)]
                 for j, (code, size, start) in enumerate(zip(np.asarray(codes[i]), (2, 5), (0, 3)))]
        assert np.allclose(m.apply(variables, x).tokens[i], norm(np.stack(want)), atol=1e-4)
    assert np.allclose(m.apply(variables, x).pooled, m.apply(variables, x).tokens[:, 0])
    hidden = x | {"tabular": numbers.at[1, 0].set(1e6)}  # what is not known cannot matter
    assert np.array_equal(m.apply(variables, hidden).pooled, m.apply(variables, x).pooled) and finite(m, variables, x)


def test_a_table_of_numbers_or_of_categories_alone_reads_that_and_says_what_does_not_fit():
    for options, x in (({"columns": 3}, normal(2, 3)), ({"cardinalities": (2, 3)}, jnp.array([[0, 1], [1, 2]]))):
        m = TableTransformer(**options, **SMALL)
        variables = jax.jit(m.init)(jax.random.key(0), x)
        (field,) = m.reads
        assert np.array_equal(m.apply(variables, x).pooled, m.apply(variables, {field: x}).pooled) and finite(m, variables, x)
        assert m.apply(variables, x).tokens.shape == (2, 1 + x.shape[1], 8)
        with pytest.raises(ValueError, match=f"{field} of shape .* of an encoder of {x.shape[1]} columns"):
            m.apply(variables, x[:, :1])
    assert set(TableTransformer(columns=1, cardinalities=(2,)).reads) == {"tabular", "category"}


def test_every_column_and_no_order_of_other_examples_matters_to_a_table():
    m = TableTransformer(columns=4, cardinalities=(3,), **SMALL)
    x = {"tabular": normal(5, 4), "category": jnp.array([[0], [1], [2], [0], [1]])}
    variables = jax.jit(m.init)(jax.random.key(0), x)
    slopes = jax.jacrev(lambda t: m.apply(variables, x | {"tabular": t}).pooled)(x["tabular"])
    assert (np.abs(slopes).max(1)[np.arange(5), np.arange(5)] > 1e-5).all()
    assert np.abs(np.where(np.eye(5, dtype=bool)[:, None, :, None], 0, slopes)).max() == 0


# ---- vectors -------------------------------------------------------------------------------------------------------

def test_a_vector_s_encoder_is_residual_layers_beside_numpy():
    m, x = ResidualMLP(width=8, depth=2, mlp_ratio=2.0), normal(3, 5)
    variables = jax.jit(m.init)(jax.random.key(0), x)
    p = jax.tree.map(lambda a: np.asarray(a, np.float64), variables["params"])
    dense = lambda y, of: y @ of["kernel"] + of["bias"]  # noqa: E731
    y = dense(np.asarray(x), p["embed"])
    for i in ("00", "01"):
        y = y + dense(gelu(dense(norm(y), p[f"mlp{i}"]["up"])), p[f"mlp{i}"]["down"])
    found = m.apply(variables, x)
    assert np.allclose(found.pooled, norm(y), atol=1e-4) and np.array_equal(found.tokens[:, 0], found.pooled)
    assert finite(m, variables, x) and finite(m, variables, jnp.zeros((2, 5)))


@pytest.mark.parametrize("kind", ["dropout", "input_dropout", "drop_path"])
def test_vectors_and_bags_drop_by_the_example_s_key_in_training_only(kind):
    cases = [(ResidualMLP(width=8, depth=2, **{kind: 0.5}), jnp.repeat(normal(1, 5), 6, 0))]
    cases += [(BagTransformer(width=8, depth=1, heads=2, **{kind: 0.5}), jnp.repeat(normal(1, 3, 5), 6, 0))]
    for m, x in cases:
        variables = jax.jit(m.init)(jax.random.key(0), x)
        still, dropped = m.apply(variables, x).pooled, np.asarray(m.apply(variables, x, keys(6)).pooled)
        assert np.array_equal(still, m.apply(variables, x).pooled) and len(np.unique(dropped.round(4), axis=0)) > 1
        order = np.array([3, 1, 5, 0, 2, 4])
        assert np.allclose(m.apply(variables, x, keys(6)[order]).pooled, dropped[order], atol=1e-6)


# ---- bags ----------------------------------------------------------------------------------------------------------

def test_gated_attention_is_a_softmax_of_gated_scores():
    x, mask = normal(2, 4, 6), jnp.array([[1, 1, 0, 1], [0, 0, 0, 0]], bool)
    m = GatedAttention(3)
    variables = jax.jit(m.init)(jax.random.key(0), x, mask)
    p = jax.tree.map(lambda a: np.asarray(a, np.float64), variables["params"])
    dense = lambda y, of: y @ of["kernel"] + of["bias"]  # noqa: E731
    pooled, weights = m.apply(variables, x, mask)
    tiles = np.asarray(x, np.float64)[0, [0, 1, 3]]
    score = dense(np.tanh(dense(tiles, p["value"])) / (1 + np.exp(-dense(tiles, p["gate"]))), p["score"])[:, 0]
    share = np.exp(score) / np.exp(score).sum()
    assert np.allclose(weights[0, np.array([0, 1, 3])], share, atol=1e-5) and weights[0, 2] == 0
    assert np.allclose(pooled[0], share @ tiles, atol=1e-5)
    assert not pooled[1].any()  # a bag of padding alone


@pytest.mark.parametrize("options", [{}, {"depth": 1, "pool": "map"}, {"depth": 1, "pool": "cls"}])
def test_a_bag_has_no_order_and_its_padding_no_say(options):
    m = BagTransformer(width=8, heads=2, masked=True, **options)
    tiles, mask = normal(2, 6, 5), jnp.array([[1, 1, 1, 0, 1, 0], [1] * 6], jnp.uint8)
    x = {"features": tiles, "mask/features": mask}
    variables = jax.jit(m.init)(jax.random.key(0), x)
    apply = jax.jit(m.apply)
    pooled = apply(variables, x).pooled
    other = jnp.where(mask[..., None] == 1, tiles, 1e3 * normal(2, 6, 5, seed=8))
    assert np.array_equal(apply(variables, x | {"features": other}).pooled, pooled)
    order = jnp.array([4, 2, 0, 5, 1, 3])
    permuted = {"features": tiles[:, order], "mask/features": mask[:, order]}
    assert np.allclose(apply(variables, permuted).pooled, pooled, atol=1e-5)
    alone = jax.jit(BagTransformer(width=8, heads=2, **options).apply)(variables, tiles[:1, jnp.array([0, 1, 2, 4])])  # without padding
    assert np.allclose(alone.pooled[0], pooled[0], atol=1e-5)
    assert finite(m, variables, x | {"mask/features": mask.at[0].set(0)})  # one of padding alone


def test_what_is_no_vector_or_no_bag_is_told_what_reads_it():
    for m, x, said in ((ResidualMLP(), normal(2, 3, 4), "'bag'"), (BagTransformer(), normal(2, 3), "'mlp'"),
                       (BagTransformer(pool="cls"), normal(2, 3, 4), "without blocks"),
                       (BagTransformer(pool="max"), normal(2, 3, 4), "valid: cls, last, mean, map")):
        with pytest.raises(ValueError, match=said):
            jax.eval_shape(m.init, jax.random.key(0), x)


# ---- in a run ------------------------------------------------------------------------------------------------------

def table_config(**changes):
    source = {"name": "phantom", "n": 64, "size": 32, "scale": "tiny", "modalities": ("tabular", "features", "text"),
              "missing": {"tabular": 0.2, "features": 0.2}}
    terms = {"a": {"name": "contrastive", "a": "labs"}, "b": {"name": "contrastive", "a": "features", "b": "labs"}}
    return runs.config(objectives=terms, **{
        "encoders": {"labs": {"name": "table", "dropout": 0.1, **SMALL}, "features": {"name": "mlp", "width": 8, "dropout": 0.1},
                     "text": runs.TOWERS["text"]},
        "data": {"main": {"source": source, "batch": 16}}} | changes)


@pytest.mark.slow
@pytest.mark.parametrize("shape, micro", [((1, 1, 1), 2), ((4, 2, 1), 1)])
def test_tables_and_vectors_give_one_gradient_on_any_mesh_and_in_micro_batches(shape, micro):
    value, grads = tiny.value_and_grads(table_config().copy_and_resolve_references().unlock())
    other, parts = tiny.value_and_grads(table_config().copy_and_resolve_references().unlock(), shape, micro)
    assert np.isclose(value, other, rtol=1e-5)
    tiny.assert_close(grads, parts, 1e-4)


def test_numbers_are_standardized_by_the_training_rows_in_training_and_when_opened_again(tmp_path, monkeypatch):
    import mmrep

    c = table_config(total="1 steps")
    run = assemble(c)
    rows = [row for row in (run.sources["main"][i] for i in range(len(run.sources["main"]))) if "tabular" in row]
    values, codes = np.stack([row["tabular"] for row in rows]), np.stack([row["category"] for row in rows])
    scale = run.measured["scales"]["tabular"]
    assert np.allclose(scale["mean"], values.mean(0), rtol=1e-4) and np.allclose(scale["std"], values.std(0), rtol=1e-3)
    assert run.measured["cardinalities"] == tuple(codes.max(0) + 1) and run.measured["columns"] == 10
    train(c, tmp_path, shared={}, say=lambda text: None)
    model, params, _ = mmrep.load(tmp_path)
    shifted = {"tabular": values[:4], "category": codes[:4]}
    before = model["encode"](params, "labs", shifted).pooled
    trunk = TableTransformer(columns=10, cardinalities=run.measured["cardinalities"], **SMALL)
    standard = {"tabular": (values[:4] - np.array(scale["mean"])) / np.array(scale["std"]), "category": codes[:4]}
    assert np.allclose(trunk.apply({"params": params["encoders"]["labs"]["trunk"]}, standard).pooled,
                       before, atol=1e-4)


def test_measured_of_a_bag_are_its_real_tiles_and_a_constant_column_has_deviation_1():
    bags = np.random.default_rng(0).normal(3, 2, (40, 5, 3)).astype(np.float32)
    bags[..., 2] = 7
    marks = np.arange(5) < np.random.default_rng(1).integers(1, 6, (40, 1))
    rows = [{"features": np.where(mark[:, None], bag, -99).astype(np.float32), "mask/features": mark} for bag, mark in zip(bags, marks)]
    c = tiny.config({}, encoders={"slide": {"name": "bag", "field": "features"}})
    found = measure(c, {"main": rows}, {"main": {"features": ((5, 3), np.float32), "mask/features": ((5,), bool)}})
    real = bags[marks]
    assert np.allclose(found["scales"]["features"]["mean"], real.mean(0), rtol=1e-5)
    assert np.allclose(found["scales"]["features"]["std"], [*real.std(0)[:2], 1], rtol=1e-4) and found["masks"] == ("mask/features",)
    assert measure(tiny.config({}), {"main": rows}, {"main": {"features": ((5, 3), np.float32)}})["scales"] == {}  # nothing reads it
    own = tiny.config({}, encoders={"proteins": {"name": "mlp", "field": "protein_features"}})
    found = measure(own, {"main": [{"protein_features": bag[0]} for bag in bags]}, {"main": {"protein_features": ((3,), np.float32)}})
    assert np.allclose(found["scales"]["protein_features"]["mean"], bags[:, 0].mean(0), rtol=1e-5)
