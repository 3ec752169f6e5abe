"""Rules, schedules, decay and freezing against optax and hand-computed values."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mmrep.core import optim, tree

LEAVES = {"encoders": {"text": {"embed": {"embedding": jnp.ones((3, 2))}, "block00": {"up": {"kernel": jnp.ones((2, 2))}},
                                "block01": {"up": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}},
                                "head": {"kernel": jnp.ones((2, 2))}}}}


def hp(**kw):
    return {k: jnp.float32(v) for k, v in {"lr": 2.0, "warmup": 10, "total": 100, "end": 0.1, "cooldown": 20, **kw}.items()}


@pytest.mark.parametrize("step", [0, 4, 10, 55, 99])
def test_schedules_equal_optax(step):
    ours = {n: float(optim.learning_rate(f, jnp.float32(step), hp())) for n, f in optim.SCHEDULES.items()}
    warm = min(1.0, (step + 1) / 10)
    # optax's warm-up starts at 0 and ours one step later, so that the first step already learns
    assert np.isclose(ours["cosine"], 2 * warm * optax.cosine_decay_schedule(1.0, 90, 0.1)(max(step - 10, 0)), rtol=1e-5)
    assert np.isclose(ours["linear"], 2 * warm * optax.linear_schedule(1.0, 0.1, 90)(max(step - 10, 0)), rtol=1e-5)
    assert np.isclose(ours["constant"], 2 * warm, rtol=1e-6)
    base = np.sqrt(10 / max(step + 1, 10))
    assert np.isclose(ours["rsqrt"], 2 * warm * (0.1 + (base - 0.1) * min(1, (100 - step) / 20)), rtol=1e-5)


def test_first_rule_that_sets_an_attribute_decides_it():
    rules = {"0": {"match": ".*/embedding", "freeze": True}, "1": {"match": ".*text.*", "lr": 0.5, "wd": 1.0},
             "2": {"match": ".*head.*", "lr": 9.0, "shard": (None, "tensor")}}
    planned = optim.plan(rules, tree.paths(LEAVES))
    assert planned["encoders/text/head/kernel"] == {"lr": "1", "wd": "1", "shard": "2"}
    assert optim.frozen(rules, planned) == {"encoders/text/embed/embedding"}
    assert optim.wanted_specs(rules, planned) == {"encoders/text/head/kernel": (None, "tensor")}


@pytest.mark.parametrize("rule, message", [
    ({"match": "encoders/image/.*", "lr": 1.0}, "matches no leaf"), ({"match": "(", "lr": 1.0}, "no regular expression"),
    ({"match": ".*", "learning_rate": 1.0}, "unknown key"), ({"lr": 1.0}, "needs `match`"),
    ({"match": ".*", "shard": ("tensr",)}, "no mesh axis 'tensr'; did you mean 'tensor'"),
    ({"match": ".*", "shard": "tensor"}, "no tuple of mesh axes"),
    ({"match": ".*", "shard": ("tensor", "tensor")}, "splits two dimensions over 'tensor'"),
    ({"match": ".*", "freeze": 1}, "freeze: 1 is no bool")])
def test_bad_rules_name_their_path(rule, message):
    with pytest.raises(ValueError, match=f"config.rules.0.*{message}"):
        optim.plan({"0": rule}, tree.paths(LEAVES))


def test_freeze_false_lets_its_leaves_learn():
    rules = {"0": {"match": ".*/head/.*", "freeze": False, "lr": 10.0}, "1": {"match": ".*", "freeze": True},
             "2": {"match": ".*", "freeze": True, "until": 3}}
    planned = optim.plan(rules, tree.paths(LEAVES))
    assert optim.frozen(rules, planned) == {p for p in tree.paths(LEAVES) if "/head/" not in p}
    lr, _ = optim.multipliers("head/kernel", jnp.ones(2), planned["encoders/text/head/kernel"], {"0": {"lr": 10.0}}, 0, 2)
    assert float(lr) == 10.0


@pytest.mark.parametrize("name, kwargs", [("muon", {}), ("muon", {"consistent_rms": 0.2}), ("adamw", {}), ("lion", {})])
def test_scanned_layers_are_updated_like_unrolled_ones(name, kwargs):
    rng = np.random.default_rng(0)
    layers = [{"kernel": jnp.asarray(rng.normal(size=(8, 24)), jnp.float32), "bias": jnp.asarray(rng.normal(size=24), jnp.float32)}
              for _ in range(3)]
    flat = {"encoders": {f"block{i:02d}": {"up": layer} for i, layer in enumerate(layers)}}
    stacked = {"encoders": {"blocks": {"up": jax.tree.map(lambda *a: jnp.stack(a), *layers)}}}
    tx = optim.transform(name, **kwargs)
    one, many = (tx.update(p, tx.init(p), p)[0]["encoders"] for p in (stacked, flat))
    for leaf in ("kernel", "bias"):
        unrolled = np.stack([many[f"block{i:02d}"]["up"][leaf] for i in range(3)])
        np.testing.assert_allclose(one["blocks"]["up"][leaf], unrolled, rtol=1e-5, atol=1e-6 * np.abs(unrolled).max())


def test_optimizers_that_decay_by_themselves_are_told_not_to():
    params, grads = {"a": jnp.full(3, 5.0)}, {"a": jnp.zeros(3)}
    for name in ("adamaxw", "nadamw", "lion", "lamb", "adan", "ademamix", "lars"):
        tx = optim.transform(name)
        updates, _ = tx.update(grads, tx.init(params), params)
        assert np.array_equal(updates["a"], jnp.zeros(3)), name
    with pytest.raises(ValueError, match="config.optim.kwargs.weight_decay: decay is applied by config.optim.wd"):
        optim.transform("adamw", weight_decay=0.1)


def test_decay_layer_decay_windows_and_frozen_in_a_window():
    rules = {"0": {"match": ".*", "layer_decay": 0.5}, "1": {"match": ".*head.*", "freeze": True, "until": "5 steps"}}
    planned = optim.plan(rules, tree.paths(LEAVES))
    hp_rules = {"0": {"layer_decay": jnp.float32(0.5)}, "1": {"until": jnp.float32(5)}}
    directions = jax.tree.map(lambda x: -jnp.ones_like(x), LEAVES)
    out = [optim.apply(LEAVES, directions, jnp.float32(0.1), jnp.float32(0.01), planned, hp_rules, jnp.int32(step))
           ["encoders"]["text"] for step in (0, 5)]
    lr = {"embed": 0.5**3, "block00": 0.5**2, "block01": 0.5, "head": 1.0}  # two blocks: the embedding is 3 below the top
    assert np.allclose(out[0]["embed"]["embedding"], 1 - 0.1 * lr["embed"])  # no weight decay but on kernels
    assert np.allclose(out[0]["block00"]["up"]["kernel"], 1 - 0.1 * lr["block00"] * 1.01)
    assert np.allclose(out[0]["block01"]["up"]["bias"], 1 - 0.1 * lr["block01"])
    assert np.allclose(out[0]["head"]["kernel"], 1.0) and np.allclose(out[1]["head"]["kernel"], 1 - 0.1 * 1.01)


@pytest.mark.parametrize("name", ["adamw", "lion", "adafactor", "muon", "sgd", "lamb"])
def test_unit_lr_direction_times_lr_is_the_optax_optimizer(name):
    params = {"a": {"kernel": jnp.linspace(-1, 1, 12).reshape(3, 4)}, "b": jnp.arange(4.0)}
    grads = jax.tree.map(lambda p: jnp.sin(3 * p) + 0.1, params)
    ours, lr = optim.transform(name), 0.03
    make = getattr(optax, name, None) or getattr(optax.contrib, name)
    none = {"weight_decay": 0.0} if name in ("adamw", "lion", "lamb") else {}
    theirs = make(lr, **none)
    s1, s2, p1, p2 = ours.init(params), theirs.init(params), params, params
    for _ in range(3):
        d, s1 = ours.update(grads, s1, p1)
        p1 = jax.tree.map(lambda p, d: p + lr * d, p1, d)
        u, s2 = theirs.update(grads, s2, p2)
        p2 = optax.apply_updates(p2, u)
    for a, b in zip(jax.tree.leaves(p1), jax.tree.leaves(p2)):
        assert np.allclose(a, b, rtol=1e-5, atol=1e-6)


def test_unknown_optimizer_and_kwarg():
    with pytest.raises(ValueError, match="config.optim.name.*adamw"):
        optim.transform("adamww")
    with pytest.raises(ValueError, match="config.optim.*beta"):
        optim.transform("adamw", beta=0.9)
    with pytest.raises(ValueError, match="config.optim.name: optax.lbfgs needs more than a gradient"):
        optim.transform("lbfgs")
    with pytest.raises(ValueError, match="config.optim.name: schedule_free_adamw trains other params"):
        optim.transform("schedule_free_adamw")


def test_a_young_average_forgets_its_start():
    at = lambda s: float(optim.ema_decay(jnp.float32(s), {"decay": 0.999, "final": 0.999}, jnp.float32(500), True))  # noqa: E731
    assert np.isclose(at(0), 0.1) and np.isclose(at(90), 0.91) and np.isclose(at(10**5), 0.999)
    assert np.prod([at(s) for s in range(500)]) < 1e-9


def test_ema_decay_goes_from_decay_to_final():
    at = lambda s: float(optim.ema_decay(jnp.float32(s), {"decay": 0.9, "final": 1.0}, jnp.float32(100)))  # noqa: E731
    assert np.isclose(at(0), 0.9) and np.isclose(at(50), 0.95) and np.isclose(at(100), 1.0)


def test_layer_decay_of_scanned_layers_is_that_of_unrolled_ones():
    rng = np.random.Generator(np.random.Philox(7))
    layers = [{"up": {k: jnp.asarray(rng.normal(size=shape), jnp.float32) for k, shape in (("kernel", (3, 2)), ("bias", (2,)))}}
              for _ in range(3)]
    around = {"embed": {"kernel": jnp.ones((2, 2))}, "head": {"kernel": jnp.ones((2, 2))}}
    stacks = {"flat": {f"block{i:02d}": layer for i, layer in enumerate(layers)},
              "scan": {"blocks": jax.tree.map(lambda *a: jnp.stack(a), *layers)}}
    rules, out = {"0": {"match": ".*", "layer_decay": 0.5}}, {}
    for name, stack in stacks.items():
        params = {"encoders": {"text": around | {"stack": stack}}}
        directions = jax.tree.map(jnp.ones_like, params)
        new = optim.apply(params, directions, 0.1, 0.01, optim.plan(rules, tree.paths(params)), {"0": {"layer_decay": 0.5}}, 0)
        out[name] = new["encoders"]["text"]
    for leaf, wd in (("kernel", 0.01), ("bias", 0.0)):
        unrolled = np.stack([out["flat"]["stack"][f"block{i:02d}"]["up"][leaf] for i in range(3)])
        assert np.allclose(out["scan"]["stack"]["blocks"]["up"][leaf], unrolled, atol=1e-6)
        for i, layer in enumerate(layers):  # the last of three is one below the top
            old = layer["up"][leaf]
            assert np.allclose(unrolled[i], old + 0.1 * 0.5 ** (3 - i) * (1 - wd * old), atol=1e-6)
    for name in ("embed", "head"):
        assert np.allclose(out["scan"][name]["kernel"], out["flat"][name]["kernel"])
        assert np.allclose(out["scan"][name]["kernel"], 1 + 0.1 * {"embed": 0.5**4, "head": 1}[name] * 0.99)
