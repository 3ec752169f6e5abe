"""The step: the same loss and gradients on every mesh and for every number of micro-batches."""

import functools

import jax
import numpy as np
import pytest

from tests import tiny

EVERYTHING = {
    "clip": {"name": "contrastive"},
    "match": {"name": "matching", "after": "clip"},
    "caption": {"name": "caption", "weight": 0.5},
    "mae": {"name": "masked", "width": 16, "depth": 1, "heads": 2},
}
NETS = {"fusion": {"name": "cross_attention", "width": 16, "depth": 1, "heads": 2}}


@pytest.fixture(scope="module")
def reference():
    return tiny.value_and_grads(tiny.config(EVERYTHING, nets=NETS))


@pytest.mark.parametrize("shape, micro", [((1, 1, 1), 4), ((2, 2, 2), 2), pytest.param((8, 1, 1), 1, marks=pytest.mark.slow),
                                          pytest.param((4, 2, 1), 2, marks=pytest.mark.slow)])
def test_composed_gradients_do_not_depend_on_mesh_or_micro_batches(reference, shape, micro):
    value, grads = tiny.value_and_grads(tiny.config(EVERYTHING, nets=NETS), shape, micro)
    assert abs(value - reference[0]) <= 1e-5 * abs(reference[0])
    tiny.assert_close(reference[1], grads)


def test_cached_encode_takes_less_memory_on_eight_devices():
    """Temporaries a device of loss and gradient, from the compiler, with and without micro-batches."""
    def temporaries(micro):
        c = tiny.config({"clip": {"name": "contrastive"}}, batch=512)
        with c.unlocked():
            c.data.main.source.n = 1024
        run, state, batches, hp = tiny.on_mesh(c, (8, 1, 1), micro)
        with jax.set_mesh(run.mesh):
            fn = jax.jit(jax.grad(lambda p: run.loss(p, state.ema, state.aux, batches[0], state.rng, state.step, hp)[0]))
            return fn.lower(state.params).compile().memory_analysis().temp_size_in_bytes

    whole, parts = temporaries(1), temporaries(8)
    assert parts < 0.6 * whole, (whole, parts)


def run_steps(c, shape, micro, steps):
    """(losses, params) after some steps."""
    run, state, batches, hp = tiny.on_mesh(c, shape, micro, steps)
    losses = []
    with jax.set_mesh(run.mesh):
        program = jax.jit(run.step, donate_argnums=0, out_shardings=(run.placed, None))
        for batch in batches:
            state, metrics = program(state, batch, hp)
            assert bool(metrics["finite"].all())
            losses.append(float(metrics["loss"]))
    return np.array(losses), jax.device_get(state.params), jax.device_get(state.aux)


LAYOUTS = [((1, 1, 1), 4), ((8, 1, 1), 1), ((4, 2, 1), 2), ((2, 2, 2), 1)]
MIXED = {"clip": {"name": "contrastive"}, "moco": {"name": "moco", "key": "image", "queue": 64},
         "distill": {"name": "distill", "teacher_view": "image", "symmetric": False, "hidden": 16}}
EMA = {"teacher": {"decay": 0.9, "final": 1.0}}


@functools.cache  # the reference is that of every layout
def mixed_steps(shape, micro, optimizer, steps, lr):
    c = tiny.config(MIXED, **{"optim.name": optimizer, "optim.lr": lr, "ema": EMA, "total": f"{steps} steps"})
    return run_steps(c, shape, micro, steps)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer, steps, lr", [("sgd", 10, 0.05), ("adamw", 20, 1e-3)])
@pytest.mark.parametrize("shape, micro", LAYOUTS)
def test_training_does_not_depend_on_the_layout(shape, micro, optimizer, steps, lr):
    losses, params, aux = mixed_steps((1, 1, 1), 1, optimizer, steps, lr)
    other, other_params, other_aux = mixed_steps(shape, micro, optimizer, steps, lr)
    assert np.abs(losses - other).max() <= 1e-4 * np.abs(losses).max()
    if optimizer == "sgd":  # AdamW normalizes rounding noise where a true gradient is 0, so its params may differ
        for a, b in zip(jax.tree.leaves(params), jax.tree.leaves(other_params)):
            assert np.abs(a - b).max() <= 1e-5 * max(np.abs(a).max(), 1e-3)
        for a, b in zip(jax.tree.leaves(aux), jax.tree.leaves(other_aux)):
            assert np.abs(a - b).max() <= 1e-4


def test_frozen_leaves_have_no_gradient_moments_or_copy_and_do_not_move():
    c = tiny.config({"clip": {"name": "contrastive"}}, **{
        "ema": {"eval": {"decay": 0.5}}, "rules": ({"match": "encoders/text/trunk/.*", "freeze": True},)})
    run, state, batches, hp = tiny.on_mesh(c, (1, 1, 1))
    from mmrep.core import tree

    assert not [p for p in tree.paths((state.opt, state.ema)) if "text/trunk" in p]
    assert [p for p in tree.paths(state.ema) if "text/head" in p]
    with jax.set_mesh(run.mesh):
        after, metrics = jax.jit(run.step)(state, batches[0], hp)
    moved = {p: bool((a != b).any()) for p, a, b in zip(tree.paths(state.params), jax.tree.leaves(state.params),
                                                        jax.tree.leaves(after.params))}
    assert not any(m for p, m in moved.items() if "text/trunk" in p)
    assert moved["encoders/text/head/kernel"] and moved["encoders/image/trunk/embed/kernel"]


def test_nonfinite_gradient_leaves_the_state_as_it_was_and_names_the_leaf():
    c = tiny.config({"clip": {"name": "contrastive"}})
    run, state, batches, hp = tiny.on_mesh(c, (1, 1, 1))
    bad = state.params["encoders"]["image"]["head"]["kernel"].at[0, 0].set(np.nan)
    state.params["encoders"]["image"]["head"]["kernel"] = bad
    with jax.set_mesh(run.mesh):
        after, metrics = jax.jit(run.step)(state, batches[0], hp)
    finite = np.asarray(metrics["finite"])
    assert len(run.names) == len(finite) and run.names[int(np.argmin(finite))] == "loss"
    same = jax.tree.map(lambda a, b: bool(((a == b) | (a != a)).all()), (after.params, after.opt), (state.params, state.opt))
    assert all(jax.tree.leaves(same)) and int(after.step) == int(state.step)


def test_absent_modalities_equal_the_subset_batch():
    """Rows without a text count nowhere: the loss is that of the rows that have both."""
    c = tiny.config({"clip": {"name": "contrastive"}, "caption": {"name": "caption"}}, nets=NETS)
    run, state, batches, hp = tiny.on_mesh(c, (1, 1, 1))
    batch = jax.device_get(batches[0])["main"]
    here = batch["present"]["text"] & batch["present"]["image"]
    assert 4 < here.sum() < len(here)

    def loss(rows):
        part = jax.tree.map(lambda x: x[rows], batch)
        with jax.set_mesh(run.mesh):
            return jax.jit(lambda p: run.loss(p, state.ema, state.aux, {"main": part}, state.rng, state.step, hp)[0])(
                state.params)

    assert np.isclose(loss(slice(None)), loss(np.flatnonzero(here)), rtol=1e-5)
    batch["present"]["text"] = np.zeros_like(here)
    grads = jax.jit(jax.grad(lambda p: run.loss(p, state.ema, state.aux, {"main": batch}, state.rng, state.step, hp)[0]))
    with jax.set_mesh(run.mesh):
        assert all(np.isfinite(g).all() and not g.any() for g in jax.tree.leaves(grads(state.params)))
