"""How the step composes terms, on hand-written encoders and objectives: windows, rows, the leaf it names."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmrep.core import optim, sharding, step, tree
from mmrep.core.types import Encoded, Net, Objective, Term, TrainState, View
from mmrep.objectives import OBJECTIVES

B = 16


def encode(params, view, batch, keys):
    x = batch[view.modality]
    return Encoded(embedding=x.reshape(len(x), -1) @ params[view.modality])


def data(**fields):
    rng = np.random.Generator(np.random.Philox(1))
    arrays = {m: jnp.asarray(rng.normal(size=(B, 4)), jnp.float32) for m in ("tabular", "features")}
    return arrays | {"index": jnp.arange(B), "valid": jnp.ones(B, bool), "present": {}} | fields


def params():
    rng = np.random.Generator(np.random.Philox(2))
    return {"encoders": {m: jnp.asarray(rng.normal(size=(4, 4)), jnp.float32) for m in ("tabular", "features")},
            "objectives": {"bad": {"w": jnp.float32(-1)}}, "nets": {}}


def separable(fn, **views):
    return Objective(views or {"x": View("tabular")}, lambda p, s, e, b, k, hp, nets: (fn(p, e["x"].embedding), {}), False)


def coupled(fn):
    return Objective({"x": View("tabular")}, lambda p, s, e, b, k, hp, nets: (fn(p, e["x"].embedding), {}), True,
                     {"x": ("embedding",)})


def value_and_grad(terms, at, batch=None, micro=1, **windows):
    hp = {"terms": {n: {"weight": jnp.float32(1)} | dict(t.objective.hp) | windows.get(n, {}) for n, t in terms.items()}}
    loss = step.make_loss(encode, {}, terms, micro)
    fn = jax.jit(jax.value_and_grad(lambda p: loss(p, {}, {}, {"main": batch or data()}, jax.random.key(0), at, hp)[0]))
    return jax.device_get(fn(params()))


GOOD = Term(separable(lambda p, x: (x**2).sum(1)))
# a square root of negative numbers, and a finite value whose gradient is not
BAD = [(separable, lambda p, x: jnp.sqrt(p["w"] * x[:, 0] ** 2)), (coupled, lambda p, x: jnp.sqrt(jnp.sum(x * 0 * p["w"])))]


@pytest.mark.parametrize("micro", [1, 4])
def test_a_metric_of_known_rows_is_averaged_over_them(micro):
    known = np.arange(B) % 5 == 1

    def loss(p, s, e, batch, k, hp, nets):
        return e["x"].embedding.sum(1), {"part": (batch["index"].astype(float), batch["known"]), "all": batch["index"] * 1.0}

    terms = {"t": Term(Objective({"x": View("tabular")}, loss, False))}
    hp = {"terms": {"t": {"weight": jnp.float32(1)}}}
    _, (metrics, _) = jax.jit(lambda p: step.make_loss(encode, {}, terms, micro)(
        p, {}, {}, {"main": data(known=jnp.asarray(known))}, jax.random.key(0), 0, hp))(params())
    assert np.isclose(metrics["t/part"], np.arange(B)[known].mean()) and np.isclose(metrics["t/all"], np.arange(B).mean())


@pytest.mark.parametrize("micro", [1, 2])
@pytest.mark.parametrize("kind, fn", BAD)
def test_a_term_outside_its_window_is_not_there_whatever_it_gives(kind, fn, micro):
    terms = {"good": GOOD, "bad": Term(kind(fn))}
    alone = value_and_grad({"good": GOOD}, 3, micro=micro)
    for window in ({"from": jnp.float32(4)}, {"until": jnp.float32(3)}):
        value, grads = value_and_grad(terms, 3, micro=micro, bad=window)
        assert value == alone[0] and jax.tree.all(jax.tree.map(np.array_equal, grads, alone[1]))
    value, grads = value_and_grad(terms, 3, micro=micro, bad={"from": jnp.float32(3)})
    assert not all(np.isfinite(x).all() for x in jax.tree.leaves((value, grads)))  # inside, it counts


def test_a_window_holds_under_a_mesh_with_collectives_inside():
    clip = OBJECTIVES["contrastive"]("tabular", "features", learn_temperature=False)
    terms = {"clip": Term(clip)}
    with jax.set_mesh(sharding.make_mesh(8)):
        on = value_and_grad(terms, 3, clip={"until": jnp.float32(4)})
        off = value_and_grad(terms, 3, clip={"until": jnp.float32(3)})
    plain = value_and_grad(terms, 3)
    assert np.isclose(on[0], plain[0], rtol=1e-5) and off[0] == 0 and not any(g.any() for g in jax.tree.leaves(off[1]))
    for a, b in zip(jax.tree.leaves(on[1]), jax.tree.leaves(plain[1])):
        assert np.allclose(a, b, atol=1e-5)


def test_a_weight_ramps_linearly_from_the_start_of_its_window():
    hp = {"weight": 2.0, "from": 10, "until": 20, "ramp": 4}
    assert [float(optim.term_weight(s, hp)) for s in (9, 10, 11, 13, 19, 20)] == [0, 0.5, 1, 2, 2, 0]
    assert [float(optim.term_weight(s, {"weight": 2.0})) for s in (0, 99)] == [2, 2]
    assert float(optim.term_weight(0, {"weight": 2.0, "ramp": 0})) == 2


def test_two_terms_of_one_kind_read_their_own_rows():
    def after(shift):
        def loss(p, s, e, batch, k, hp, nets):
            assert set(batch["rows"]) == {"hard"}
            return jnp.where(batch["rows"]["hard"]["index"] == (batch["index"] + shift) % B,
                             jnp.abs(e["y"].embedding - jnp.roll(e["x"].embedding, -shift, 0)).sum(1), jnp.inf), {}

        return Term(Objective({"x": View("tabular"), "y": View("tabular", row="hard")}, loss, False, after="first",
                              select=lambda p, e, b, k, hp: {"hard": (jnp.arange(B) + shift) % B}))

    terms = {"first": Term(coupled(lambda p, x: 0.0 * x.sum())), "one": after(1), "two": after(5)}
    assert np.abs(value_and_grad(terms, 0)[0]) < 1e-4  # every row meets the one that its own term chose


@pytest.mark.parametrize("bad, name", [("b", "encoders/b"), ("a", "encoders/a"), ("", None)])
def test_a_finite_loss_with_a_gradient_that_is_not_names_the_leaf(bad, name):
    values = {"encoders": {"a": jnp.ones(3), "b": jnp.ones(2)}}
    if bad:
        values["encoders"][bad] = values["encoders"][bad].at[0].set(0.0)

    def loss(p, ema, aux, streams, rng, at, hp):
        value = jnp.sqrt(p["encoders"]["a"]).sum() + jnp.sqrt(p["encoders"]["b"]).sum()  # infinite slope at 0
        return value, ({"loss": value}, aux)

    tx, planned = optim.transform("sgd"), {p: {} for p in tree.paths(values)}
    hp = {"optim": {"lr": 0.1, "wd": 0.0, "clip": 1.0, "warmup": 0, "total": 10, "end": 0.0}, "rules": {}, "ema": {}}
    state = TrainState(jnp.int32(0), values, tx.init(values), {}, {}, jax.random.key(0))
    after, metrics = jax.jit(step.make_step(loss, tx, optim.constant, planned, set()))(state, {}, hp)
    finite, names = np.asarray(metrics["finite"]), step.finite_names(values, set())
    assert finite[0] and np.isfinite(metrics["loss"]) and bool(metrics["go"]) == (not bad)
    assert [n for n, ok in zip(names, finite) if not ok] == ([name, "gradient norm"] if bad else [])
    same = [np.array_equal(x, y) for x, y in zip(jax.tree.leaves(after.params), jax.tree.leaves(values))]
    assert all(same) if bad else not any(same)
    assert int(after.step) == (0 if bad else 1)


def test_nets_are_named_in_errors():
    net = Net(lambda rng, encoded: {}, lambda *a: None, 4)
    caption = OBJECTIVES["caption"](vocab=5)
    with pytest.raises(ValueError, match="config.nets has no 'fusion'.*cross_attention.*valid: other"):
        caption.init(jax.random.key(0), {"nets": {"other": net}}, {})
