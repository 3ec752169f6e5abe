"""A whole step beside one written out by hand: what weighs, clips, decays, draws, remembers and splits what."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmrep import train
from mmrep.core import step, tree
from mmrep.core.types import Encoded, Objective, Term, View
from mmrep.objectives import OBJECTIVES
from tests import tiny

B = 12


def infonce_by_hand(u, v, scale, here, target_rows, target_columns, w, eps):
    """w CE(rows) + (1 - w) CE(columns) over the rows that are there; targets are [n, n] matrices over these."""
    u, v = u[here], v[here]
    n = len(u)
    logits = scale * u @ v.T
    rows = -(((1 - eps) * target_rows + eps / n) * jax.nn.log_softmax(logits, 1)).sum(1)
    columns = -(((1 - eps) * target_columns + eps / n) * jax.nn.log_softmax(logits, 0)).sum(0)
    return (w * rows + (1 - w) * columns).mean()


def alike(group, here):
    """Targets [n, n]: shared equally by the rows of a group; a negative group has only its partner."""
    kept = np.asarray(group)[here]
    same = (kept[:, None] == kept) & (kept[:, None] >= 0) | np.eye(len(kept), dtype=bool)
    return same / same.sum(1, keepdims=True)


def unit(rng, *shape):
    x = rng.normal(size=shape)
    return jnp.asarray(x / np.linalg.norm(x, axis=-1, keepdims=True), jnp.float32)


@pytest.mark.parametrize("options", [{}, {"group": False}, {"direction": 0.8, "smoothing": 0.2},
                                     {"soft": True, "soft_temperature": 0.3, "direction": 0.1}])
def test_contrastive_gives_the_loss_its_options_ask_for(options):
    rng = np.random.Generator(np.random.Philox(3))
    u, v, soft = unit(rng, B, 8), unit(rng, B, 8), rng.random((B, 5)).astype(np.float32)
    here = np.arange(B) % 5 != 2
    group = np.arange(B) // 3 - 1
    batch = {"index": jnp.arange(B), "valid": jnp.ones(B, bool), "group": jnp.asarray(group), "soft": jnp.asarray(soft),
             "present": {"image": jnp.asarray(here)}}
    o = OBJECTIVES["contrastive"](temperature=0.25, learn_temperature=False, **options)
    got, _ = o.loss({}, {}, {"a": Encoded(embedding=u), "b": Encoded(embedding=v)}, batch, None, o.hp, {})
    rows = columns = alike(group, here) if options.get("group", True) else np.eye(here.sum())
    if options.get("soft"):
        label = soft[here] @ soft[here].T / options["soft_temperature"]
        rows, columns = jax.nn.softmax(label, 1), jax.nn.softmax(label, 0)
    want = infonce_by_hand(u, v, 4.0, here, rows, columns, options.get("direction", 0.5), options.get("smoothing", 0.0))
    assert np.isclose(got, want, rtol=1e-5)


def test_three_steps_are_those_of_the_formulas():
    """Weighted loss, clipping by the global norm, warm-up and cosine, decoupled decay of kernels, rules, EMA: SGD written out."""
    peak, wd, end, warmup, total, most = 0.5, 0.1, 0.1, 2, 5, 0.05
    c = tiny.config({"clip": {"name": "contrastive", "weight": 0.7, "direction": 0.8}}, **{
        "optim.name": "sgd", "optim.lr": peak, "optim.wd": wd, "optim.warmup": f"{warmup} steps", "optim.schedule": "cosine",
        "optim.end": end, "optim.clip": most, "total": f"{total} steps", "ema": {"eval": {"decay": 0.6, "final": 0.9}},
        "rules": ({"match": "encoders/text/.*", "lr": 0.3}, {"match": "encoders/image/head/.*", "wd": 0.0})})
    run, state, batches, hp = tiny.on_mesh(c, (1, 1, 1), steps=3)
    params = dict(zip(tree.paths(state.params), map(np.asarray, jax.tree.leaves(state.params))))
    structure = jax.tree.structure(state.params)
    average = dict(params)

    def loss(p, batch):
        u, v = (run.encode(p["encoders"], View(m), batch, None).embedding for m in ("image", "text"))
        here = np.asarray(batch["present"]["image"] & batch["present"]["text"])
        same = alike(batch["group"], here)
        scale = jnp.exp(p["objectives"]["clip"]["logit_scale"])
        return 0.7 * infonce_by_hand(u, v, scale, here, same, same, 0.8, 0.0)

    with jax.set_mesh(run.mesh):
        program = jax.jit(run.step)
        for at, batch in enumerate(batches):
            value, grads = jax.value_and_grad(loss)(jax.tree.unflatten(structure, list(params.values())), batch["main"])
            grads = dict(zip(params, map(np.asarray, jax.tree.leaves(grads))))
            norm = np.sqrt(sum((g.astype(np.float64) ** 2).sum() for g in grads.values()))
            progress = min(max((at - warmup) / (total - warmup), 0), 1)
            lr = peak * min(1, (at + 1) / warmup) * (end + (1 - end) * 0.5 * (1 + np.cos(np.pi * progress)))
            keep = min(0.9 - (0.9 - 0.6) * 0.5 * (1 + np.cos(np.pi * at / total)), (1 + at) / (10 + at))
            assert norm > most  # clipping acts
            for path, g in grads.items():
                decay = wd if path.endswith("kernel") and not path.startswith("encoders/image/head") else 0.0
                rate = lr * (0.3 if path.startswith("encoders/text") else 1.0)
                params[path] = params[path] - rate * (g * most / norm + decay * params[path])
                average[path] = keep * average[path] + (1 - keep) * params[path]
            state, metrics = program(state, batch, hp)
            assert np.isclose(metrics["loss"], value, rtol=1e-5) and np.isclose(metrics["lr"], lr, rtol=1e-5)
            assert np.isclose(metrics["grad_norm"], norm, rtol=1e-4)
    for got, want in ((state.params, params), (state.ema["eval"], average)):
        tiny.assert_close(want, dict(zip(tree.paths(got), map(np.asarray, jax.tree.leaves(got)))))


def test_a_step_draws_anew_and_a_view_for_itself():
    """Keys differ between steps, modalities, crops and samples; student and teacher share theirs, so they drop the same tokens."""
    def encode(params, view, batch, keys):
        return Encoded(embedding=jax.vmap(lambda key: jax.random.uniform(key, (4,)))(keys))

    views = {"a": View("image"), "b": View("text"), "c": View("image", sample=1), "d": View("image", net="teacher")}
    seen = Objective(views, lambda p, s, e, b, k, hp, nets: (jnp.zeros(B), {n: e[n].embedding.sum(1) * b["weight"] for n in views}), False)
    loss = step.make_loss(encode, {}, {"t": Term(seen)}, 1)
    batch = {"index": jnp.arange(B), "valid": jnp.ones(B, bool), "present": {}, "weight": jnp.arange(B) + 1.0}
    params = {"encoders": {}, "objectives": {}, "nets": {}}
    _, (drawn, _) = loss(params, {"teacher": {}}, {}, {"main": batch}, jax.random.key(0), 0, {"terms": {"t": {"weight": 1.0}}})
    sums = {n: float(drawn[f"t/{n}"]) for n in views}
    assert sums["a"] == sums["d"] and len(set(sums.values())) == 3

    c = tiny.config({"clip": {"name": "contrastive"}}, **{"encoders": tiny.TOWERS | {"image": tiny.TOWERS["image"] | {"dropout": 0.5}}})
    run, state, batches, hp = tiny.on_mesh(c, (1, 1, 1))
    with jax.set_mesh(run.mesh):
        program = jax.jit(run.step)
        losses = [float(program(state._replace(step=jnp.int32(at)), batches[0], hp)[1]["loss"]) for at in (0, 1, 0)]
    assert losses[0] == losses[2] != losses[1]


def test_the_teacher_is_the_average_and_its_keys_fill_the_queue():
    c = tiny.config({"moco": {"name": "moco", "key": "image", "queue": 32}}, **{"ema": {"teacher": {"decay": 0.5}}, "optim.lr": 0.1})
    run, state, batches, hp = tiny.on_mesh(c, (1, 1, 1))
    other = jax.tree.map(lambda x: x + 0.1, state.ema["teacher"])  # a teacher that is not the student
    with jax.set_mesh(run.mesh):
        keys = np.asarray(run.encode(other["encoders"], View("image"), batches[0]["main"], None).embedding)
        query = np.asarray(run.encode(state.params["encoders"], View("image"), batches[0]["main"], None).embedding)
        after, metrics = jax.jit(run.step)(state._replace(ema={"teacher": other}), batches[0], hp)
    queue = np.asarray(state.aux["moco"]["queue"])
    positive, negative = (query * keys).sum(1) / 0.2, query @ queue.T / 0.2
    want = np.log(np.exp(positive) + np.exp(negative).sum(1)) - positive
    assert np.isclose(metrics["moco/loss"], want.mean(), rtol=1e-5)
    np.testing.assert_allclose(after.aux["moco"]["queue"][: len(keys)], keys, atol=1e-5)
    np.testing.assert_array_equal(after.aux["moco"]["queue"][len(keys):], queue[len(keys):])


def test_the_second_pass_is_split_over_the_devices():
    """Rows that `after` terms gather must not be whole on every device, nor the work on them."""
    nets = {"fusion": {"name": "cross_attention", "width": 16, "depth": 1, "heads": 2}}
    c = {"clip": {"name": "contrastive"}, "match": {"name": "matching", "after": "clip"}}
    flops = []
    for shape in ((1, 1, 1), (8, 1, 1)):
        run, state, batches, hp = tiny.on_mesh(tiny.config(c, nets=nets, batch=64), shape)
        with jax.set_mesh(run.mesh):
            loss = jax.jit(lambda p: run.loss(p, state.ema, state.aux, batches[0], state.rng, state.step, hp)[0])  # noqa: B023
            flops.append(loss.lower(state.params).compile().cost_analysis()["flops"])
    assert flops[1] < flops[0] / 6


def test_a_leaf_frozen_for_a_window_counts_no_more_than_one_frozen_for_good():
    moved = []
    for window in ({}, {"until": "100%"}):
        c = tiny.config({"clip": {"name": "contrastive"}}, **{"optim.name": "sgd", "optim.clip": 0.01, "optim.lr": 1.0, "optim.wd": 0.0,
                        "optim.warmup": "0 steps", "rules": ({"match": "encoders/text/.*", "freeze": True} | window,)})
        run, state, batches, hp = tiny.on_mesh(c, (1, 1, 1))
        with jax.set_mesh(run.mesh):
            after, metrics = jax.jit(run.step)(state, batches[0], hp)
        moved.append([float(metrics["grad_norm"]), np.asarray(after.params["encoders"]["image"]["head"]["kernel"])])
        assert jax.tree.all(jax.tree.map(np.array_equal, after.params["encoders"]["text"], state.params["encoders"]["text"]))
    assert np.isclose(moved[0][0], moved[1][0], rtol=1e-6)
    np.testing.assert_allclose(moved[0][1], moved[1][1], rtol=1e-6)


def test_pixels_are_scaled_as_inputs_says_under_the_name_of_the_encoder_or_of_its_field():
    def embedding(name, inputs):
        towers = {name: tiny.TOWERS["image"] | ({"field": "image"} if name != "image" else {})}
        run, state, batches, _ = tiny.on_mesh(tiny.config({"mae": {"name": "masked", "view": name, "width": 16, "depth": 1, "heads": 2}},
                                                          **{"encoders": towers, "inputs": inputs}), (1, 1, 1))
        return np.asarray(run.encode(state.params["encoders"], View(name), batches[0]["main"], None).embedding)

    scale = {"mean": 0.9, "std": 0.05}
    assert np.array_equal(embedding("photo", {"photo": scale}), embedding("photo", {"image": scale}))
    assert not np.array_equal(embedding("photo", {"photo": scale}), embedding("photo", {}))
    assert not np.array_equal(embedding("image", {"image": scale}), embedding("image", {}))


def test_a_view_of_a_sample_needs_that_sample():
    batch = {"index": jnp.arange(3), "present": {"image": jnp.asarray([[True, False], [True, True], [False, True]])}}
    assert step.presence(batch, [View("image")]).tolist() == [True, True, False]
    assert step.presence(batch, [View("image", sample=1)]).tolist() == [False, True, True]
    assert step.presence(batch, [View("image"), View("image", sample=1)]).tolist() == [False, True, False]


def test_leaves_are_split_over_the_mesh():
    run, state, _, _ = tiny.on_mesh(tiny.config({"clip": {"name": "contrastive"}}), (2, 2, 2))
    whole = sum(x.nbytes for x in jax.tree.leaves(state.params))
    held = sum(x.addressable_shards[0].data.nbytes for x in jax.tree.leaves(state.params))
    assert held < 0.6 * whole
    up = state.params["encoders"]["image"]["trunk"]["stack"]["block00"]["mlp"]["up"]["kernel"]
    assert up.addressable_shards[0].data.size == up.size // 4  # over fsdp and tensor


def test_streams_draw_apart(monkeypatch):
    """Of two streams over equal rows neither the order nor the augmentation is the other's."""
    asked = {}
    monkeypatch.setattr(train.pipeline, "train_batches", lambda source, batch, seed, transform, **k: asked.setdefault(
        len(asked), (seed, k["index_offset"])))
    c = tiny.config({"clip": {"name": "contrastive"}})
    with c.unlocked():
        c.data.extra = c.data.main
    run = SimpleNamespace(config=c, sources={"extra": range(40), "main": range(64)}, specs={"extra": {}, "main": {}}, tokenizer=None)
    monkeypatch.setattr(train, "train_transform", lambda *a: None)
    for name in ("main", "extra"):
        train._batches(run, name, 0)
    assert asked[0][0] == c.seed != asked[1][0]
    spans = sorted((offset, len(run.sources[name])) for name, (_, offset) in zip(("main", "extra"), asked.values()))
    assert spans[0][0] + spans[0][1] <= spans[1][0]
