"""A config's traced scalars, and the key of the program that the rest of it makes."""

from typing import Any

import jax
import numpy as np

from mmrep import config as cfg
from mmrep.core import optim


def hyperparameters(config: Any, terms: dict, examples: dict[str, int]) -> tuple[int, dict]:
    """Total steps, and the traced scalars as a nested dict of numpy scalars. Durations are in steps of stream `main`."""
    main = "main" if "main" in config.data else sorted(config.data)[0]
    size = dict(batch=config.data[main].batch, examples=examples[main])
    total = cfg.steps(config.total, "config.total", **size)
    if total < 1:
        raise ValueError(f"config.total: {config.total!r} is {total} steps; give at least one")

    def duration(value: Any, where: str) -> np.float32:
        return np.float32(cfg.steps(value, where, **size, total=total))

    o = config.optim
    optimizer = {k: cfg.number(o[k], f"config.optim.{k}") for k in ("lr", "wd", "end", "clip")} | {"total": total}
    for key in ("lr", "wd", "end", "clip"):
        if optimizer[key] < 0:
            raise ValueError(f"config.optim.{key}: {o[key]} is below 0")
    optimizer |= {k: duration(o[k], f"config.optim.{k}") for k in ("warmup", "cooldown")}
    hp: dict = {"optim": optimizer, "rules": {}, "terms": {}, "ema": {}}
    for i, rule in enumerate(cfg.plain(config.rules)):
        traced = {k: cfg.number(rule[k], f"config.rules[{i}].{k}") for k in ("lr", "wd", "layer_decay") if k in rule}
        traced |= {k: duration(rule[k], f"config.rules[{i}].{k}") for k in optim.WINDOW if k in rule}
        hp["rules"][str(i)] = traced
    for name, spec in cfg.plain(config.objectives).items():
        where = f"config.objectives.{name}"
        traced = {k: cfg.number(v, f"{where}.{k}") for k, v in terms[name].objective.hp.items()}
        traced["weight"] = cfg.number(spec.get("weight", 1.0), f"{where}.weight")
        hp["terms"][name] = traced | {k: duration(spec[k], f"{where}.{k}") for k in (*optim.WINDOW, "ramp") if k in spec}
    for name, ema in cfg.plain(config.ema).items():
        hp["ema"][name] = {"decay": ema.get("decay", 0.999), "final": ema.get("final", ema.get("decay", 0.999))}
    return total, jax.tree.map(np.float32, hp)


def program_key(config: Any, hp: dict, vocab: int, specs: dict, measured: dict) -> str:
    """Names the compiled program: the config without what is traced (hyper-parameters, seed, durations, data), and what was measured,
    of which scales are traced, too."""
    c = untraced(config, {i: tuple(rule) for i, rule in hp["rules"].items()}, {n: tuple(term) for n, term in hp["terms"].items()})
    c["data"] = {n: (s["batch"], sorted((k, str(v)) for k, v in specs[n].items())) for n, s in c["data"].items()}
    c["tokenizer"], c["measured"] = (vocab, config.tokenizer.length), {k: str(v) for k, v in measured.items() if k != "scales"}
    c["scales"] = {field: sorted((k, len(v)) for k, v in scale.items()) for field, scale in measured["scales"].items()}
    return cfg.digest(c)


def untraced(config: Any, rules: dict[str, tuple], terms: dict[str, tuple]) -> dict:
    """The config without what is traced: rules and terms name the traced keys of each."""
    c = cfg.plain(config)
    for key in ("seed", "total", "evals", "eval", "save", "log", "init", "stages", "loader"):
        c.pop(key, None)
    for key in ("lr", "wd", "warmup", "end", "cooldown"):
        c["optim"].pop(key)
    c["optim"]["clip"] = c["optim"]["clip"] > 0
    for i, rule in enumerate(c["rules"]):
        for key in rules.get(str(i), ()):
            rule[key] = key
    for name, spec in c["objectives"].items():
        for key in terms.get(name, ()):
            spec[key] = key  # its value is traced, that it is there is not: a window or a ramp is another program
    c["ema"] = sorted(c["ema"])
    return c


def group_key(config: Any) -> str:
    """Names what makes a program, as far as the config alone tells: runs of one group most likely share one. Nothing is opened."""
    from mmrep.model import make_terms

    specs, rules = cfg.plain(config.objectives), cfg.plain(config.rules)
    of_rule, of_term = ("lr", "wd", "layer_decay", *optim.WINDOW), (*optim.WINDOW, "ramp")
    c = untraced(config, {str(i): tuple(k for k in of_rule if k in rule) for i, rule in enumerate(rules)},
                 {n: (*term.objective.hp, "weight", *(k for k in of_term if k in specs[n])) for n, term in make_terms(config, 2).items()})
    c["data"] = {n: s["batch"] for n, s in c["data"].items()}
    return cfg.digest(c)
