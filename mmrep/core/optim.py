"""The optimizer: one regex table for freeze, lr, weight decay, layer decay and sharding; traced schedules; EMA.

    rules = {"text": {"match": "encoders/text/.*", "freeze": True}, "head": {"match": ".*head.*", "lr": 10.0}}

Of the rules that match a leaf, the first that sets an attribute decides it. `from` and `until` (steps) bound a rule.
"""

import inspect
import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from mmrep.core import tree
from mmrep.core.names import nearest
from mmrep.core.sharding import AXES

ATTRIBUTES = ("freeze", "lr", "wd", "layer_decay", "shard")
WINDOW = ("from", "until")
Plan = dict[str, dict[str, str]]


def plan(rules: dict[str, dict], leaves: list[str], where: str = "config.rules") -> Plan:
    """{leaf path: {attribute: name of the rule that decides it}}. Raises ValueError for a rule that matches nothing
    or has an unknown key or value."""
    out: Plan = {leaf: {} for leaf in leaves}
    for name, rule in rules.items():
        _check_rule(rule, f"{where}.{name}")
        for leaf in tree.match(rule["match"], leaves, f"{where}.{name}.match"):
            for key in ATTRIBUTES:
                if key in rule:
                    out[leaf].setdefault(key, name)
    for by in out.values():  # `freeze: False` keeps later rules from freezing, and does nothing itself
        if "freeze" in by and not rules[by["freeze"]]["freeze"]:
            del by["freeze"]
    return out


def _check_rule(rule: dict, where: str) -> None:
    for key in rule:
        if key not in (*ATTRIBUTES, *WINDOW, "match"):
            raise ValueError(f"{where}.{key}: unknown key; {nearest(key, (*ATTRIBUTES, *WINDOW))}")
    if not isinstance(rule.get("match"), str):
        raise ValueError(f"{where}: needs `match`, a regular expression over leaf paths")
    if not isinstance(rule.get("freeze", False), bool):
        raise ValueError(f"{where}.freeze: {rule['freeze']!r} is no bool")
    shard = rule.get("shard", ())
    if not isinstance(shard, (tuple, list)):
        raise ValueError(f"{where}.shard: {shard!r} is no tuple of mesh axes, such as (None, 'tensor')")
    for axis in shard:
        if axis is not None and axis not in AXES:
            raise ValueError(f"{where}.shard: no mesh axis {axis!r}; {nearest(axis, AXES)}")
        if axis is not None and list(shard).count(axis) > 1:
            raise ValueError(f"{where}.shard: {tuple(shard)} splits two dimensions over {axis!r}; name each axis once")


def frozen(rules: dict[str, dict], planned: Plan) -> set[str]:
    """Leaves frozen for the whole run: no gradient, no moments, no EMA copy."""
    whole = {n for n, r in rules.items() if r.get("freeze") and not any(k in r for k in WINDOW)}
    return {leaf for leaf, by in planned.items() if by.get("freeze") in whole}


def wanted_specs(rules: dict[str, dict], planned: Plan) -> dict[str, tuple]:
    """{leaf: mesh axes of its last dimensions} from the rules' `shard`."""
    return {leaf: tuple(rules[by["shard"]]["shard"]) for leaf, by in planned.items() if "shard" in by}


def transform(name: str, **kwargs: Any) -> Any:
    """The optax optimizer `name` with a unit learning rate and no decay of its own; both are applied by `update`.

    `adamw`, `lion`, `adafactor`, `muon`, `sgd`, `lamb` and whatever else optax or optax.contrib gives by name.
    """
    import optax

    aliases = {"adamw": "adam"}
    make = getattr(optax, aliases.get(name, name), None) or getattr(optax.contrib, name, None)
    if not callable(make):
        raise ValueError(f"config.optim.name: optax has no {name!r}; "
                         + nearest(name, ("adamw", "adam", "lion", "adafactor", "muon", "sgd", "lamb", "radam")))
    if name.startswith("schedule_free"):
        raise ValueError(f"config.optim.name: {name} trains other params than it evaluates, which a run here does not tell apart; take "
                         "another optimizer, e.g. adamw with config.ema.eval")
    if "weight_decay" in kwargs:
        raise ValueError("config.optim.kwargs.weight_decay: decay is applied by config.optim.wd, once")
    takes = inspect.signature(make).parameters
    for key in kwargs:
        if key not in takes or key == "learning_rate":
            raise ValueError(f"config.optim.kwargs.{key}: optax.{name} takes no {key!r} here; "
                             + nearest(key, set(takes) - {"learning_rate"}))
    given = sorted(kwargs)
    if name == "muon" and "muon_weight_dimension_numbers" not in kwargs:
        kwargs = kwargs | {"muon_weight_dimension_numbers": _matrices}
    try:
        if "weight_decay" in takes:
            kwargs = kwargs | {"weight_decay": 0.0}
        tx = make(learning_rate=1.0, **kwargs)
    except TypeError as error:
        raise ValueError(f"config.optim: optax.{name} refuses {given}: {error}") from None
    try:
        jax.eval_shape(lambda p: tx.update(p, tx.init(p), p), {"kernel": jax.ShapeDtypeStruct((2, 2), "float32")})
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"config.optim.name: optax.{name} needs more than a gradient at a step ({str(error).splitlines()[0]}); take "
                         "another optimizer") from None
    return tx


def _scanned(path: str) -> bool:
    """Whether a leaf stacks the layers of a scan on its leading axis."""
    return "/blocks/" in path


def _matrices(params: dict) -> dict:
    """Which leaves Muon takes, and along which axes: matrices, those of scanned layers one by one, as unrolled ones are."""
    from optax.contrib import MuonDimensionNumbers

    def of(path: str, leaf: jax.Array) -> Any:
        stacked = int(_scanned(path))
        return MuonDimensionNumbers(stacked, stacked + 1) if leaf.ndim - stacked == 2 else None

    return tree.map_named(of, params)


# ---- schedules: pure functions of (step, hp), so that their lengths can be traced ----------------------------------

def _progress(step: jax.Array, hp: dict) -> jax.Array:
    return jnp.clip((step - hp["warmup"]) / jnp.maximum(hp["total"] - hp["warmup"], 1), 0.0, 1.0)


def cosine(step: jax.Array, hp: dict) -> jax.Array:
    """From 1 to `end` along a half cosine after the warm-up."""
    return hp["end"] + (1 - hp["end"]) * 0.5 * (1 + jnp.cos(jnp.pi * _progress(step, hp)))


def linear(step: jax.Array, hp: dict) -> jax.Array:
    """From 1 to `end` along a line after the warm-up."""
    return 1 - (1 - hp["end"]) * _progress(step, hp)


def rsqrt(step: jax.Array, hp: dict) -> jax.Array:
    """1/sqrt after the warm-up (at least 1 step), with a linear cool-down to `end` over the last `cooldown` steps."""
    base = jnp.sqrt(jnp.maximum(hp["warmup"], 1) / jnp.maximum(step + 1, jnp.maximum(hp["warmup"], 1)))
    left = jnp.clip((hp["total"] - step) / jnp.maximum(hp["cooldown"], 1), 0.0, 1.0)
    return jnp.where(hp["cooldown"] > 0, hp["end"] + (base - hp["end"]) * left, base)


def constant(step: jax.Array, hp: dict) -> jax.Array:
    """1 after the warm-up."""
    return jnp.ones(())


SCHEDULES = {"cosine": cosine, "linear": linear, "rsqrt": rsqrt, "constant": constant}


def learning_rate(schedule: Callable, step: jax.Array, hp: dict) -> jax.Array:
    """f32[]: hp["lr"] x linear warm-up x schedule, at a 0-based step."""
    return hp["lr"] * jnp.minimum(1.0, (step + 1) / jnp.maximum(hp["warmup"], 1)) * schedule(step, hp)


def active(step: jax.Array, window: dict) -> jax.Array:
    """Whether a step lies in a [from, until) window; missing ends are open."""
    return (step >= window.get("from", 0)) & (step < window.get("until", jnp.inf))


def term_weight(step: jax.Array, hp: dict) -> jax.Array:
    """f32[]: hp["weight"] inside the term's window, 0 outside; it grows linearly over the window's first `ramp` steps."""
    grown = jnp.clip((step - hp.get("from", 0) + 1) / jnp.maximum(hp["ramp"], 1), 0.0, 1.0) if "ramp" in hp else 1.0
    return jnp.where(active(step, hp), hp["weight"] * grown, 0.0)


def without_frozen(grads: dict, planned: Plan, hp_rules: dict, step: jax.Array) -> dict:
    """Gradients, 0 for leaves inside a window of `freeze`: they count neither in the norm that clips nor in later moments."""
    def one(path: str, g: jax.Array) -> jax.Array:
        by = planned[path].get("freeze")
        return g if by is None else jnp.where(active(step, hp_rules[by]), jnp.zeros_like(g), g)

    return tree.map_named(one, grads)


# ---- update --------------------------------------------------------------------------------------------------------

def _layer(path: str, depth: int) -> int:
    """Distance of a leaf from the top of its encoder, for layer decay (BEiT appendix): embeddings are farthest."""
    found = re.search(r"block(\d+)/", path)
    if found:
        return depth - int(found[1])
    return depth + 1 if re.search(r"(embed|positions|cls)(/|$)", path) else 0


def multipliers(path: str, leaf: jax.Array, by: dict[str, str], hp_rules: dict, step: jax.Array, depth: int
                ) -> tuple[jax.Array, jax.Array]:
    """The (lr, wd) multipliers of a leaf at a step. Weight decay falls on kernels only, unless a rule sets it."""
    lr, wd = jnp.ones(()), jnp.asarray(1.0 if path.endswith("kernel") else 0.0)
    if "lr" in by:
        rule = hp_rules[by["lr"]]
        lr = jnp.where(active(step, rule), rule["lr"], lr)
    if "wd" in by:
        rule = hp_rules[by["wd"]]
        wd = jnp.where(active(step, rule), rule["wd"], wd)
    if "layer_decay" in by:
        rule = hp_rules[by["layer_decay"]]
        away = _layer(path, depth)
        if _scanned(path):
            away = (leaf.shape[0] - jnp.arange(leaf.shape[0])).reshape(-1, *[1] * (leaf.ndim - 1))
        lr = lr * jnp.where(active(step, rule), rule["layer_decay"] ** away, 1.0)
    if "freeze" in by:  # within its window; leaves frozen for the whole run do not come here
        lr = jnp.where(active(step, hp_rules[by["freeze"]]), 0.0, lr)
    return lr, wd


def apply(params: dict, directions: dict, lr: jax.Array, wd: jax.Array, planned: Plan, hp_rules: dict,
          step: jax.Array) -> dict:
    """params + lr * m_lr * (direction - wd * m_wd * params), the decoupled decay of AdamW (Loshchilov 2019)."""
    depths: dict[str, int] = {}
    for path in tree.paths(params):
        if found := re.search(r"(.*?)block(\d+)/", path):
            depths[_root(path)] = max(depths.get(_root(path), 0), int(found[2]) + 1)
    stacked = {_root(p): leaf.shape[0] for p, leaf in zip(tree.paths(params), jax.tree.leaves(params))
               if _scanned(p)}

    def one(path: str, p: jax.Array, d: jax.Array) -> jax.Array:
        depth = depths.get(_root(path), stacked.get(_root(path), 0))
        m_lr, m_wd = multipliers(path, p, planned[path], hp_rules, step, depth)
        return (p + lr * m_lr * (d - wd * m_wd * p)).astype(p.dtype)

    return tree.map_named(one, params, directions)


def _root(path: str) -> str:
    return "/".join(path.split("/")[:2])


def ema_update(old: dict, new: dict, decay: jax.Array) -> dict:
    """decay * old + (1 - decay) * new."""
    return jax.tree.map(lambda a, b: (decay * a + (1 - decay) * b).astype(a.dtype), old, new)


def ema_decay(step: jax.Array, hp: dict, total: jax.Array, young: bool = False) -> jax.Array:
    """From `decay` to `final` along a half cosine over the run (BYOL, Grill 2020, section 3.3).

    young: at most (1 + step) / (10 + step), so that a copy that is judged forgets the random start in a short run, too (the
    `num_updates` of TensorFlow's ExponentialMovingAverage).
    """
    t = jnp.clip(step / jnp.maximum(total, 1), 0.0, 1.0)
    decay = hp["final"] - (hp["final"] - hp["decay"]) * 0.5 * (1 + jnp.cos(jnp.pi * t))
    return jnp.minimum(decay, (1 + step) / (10 + step)) if young else decay
