"""Leaf paths, regex rules over them and partial trees."""

import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from mmrep.core.names import nearest


def _name(key: Any) -> str:
    for attribute in ("key", "name", "idx"):
        if hasattr(key, attribute):
            return str(getattr(key, attribute))
    return str(key)


def paths(tree: Any) -> list[str]:
    """The leaves' paths, e.g. `encoders/image/trunk/block00/mlp/up/kernel`, in the order of `jax.tree.leaves`."""
    return ["/".join(map(_name, path)) for path, _ in jax.tree_util.tree_flatten_with_path(tree)[0]]


def map_named(fn: Callable, tree: Any, *rest: Any) -> Any:
    """`fn(path, leaf, *other_leaves)` over a tree."""
    return jax.tree_util.tree_map_with_path(lambda p, *leaves: fn("/".join(map(_name, p)), *leaves), tree, *rest)


def match(pattern: str, names: list[str], where: str) -> list[str]:
    """Names that a regex matches in full. Raises ValueError naming `where` (a config path) if there is none."""
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{where}: {pattern!r} is no regular expression ({error})") from None
    hits = [n for n in names if compiled.fullmatch(n)]
    if not hits:
        raise ValueError(f"{where}: {pattern!r} matches no leaf; {nearest(pattern.strip('.*'), names)}")
    return hits


def prune(tree: dict, keep: Callable[[str], bool], prefix: str = "") -> dict:
    """The nested dict without the leaves whose path `keep` refuses (and without emptied dicts)."""
    out = {}
    for key, value in tree.items():
        path = f"{prefix}{key}"
        if isinstance(value, dict):
            value = prune(value, keep, path + "/")
            if value:
                out[key] = value
        elif keep(path):
            out[key] = value
    return out


def averaged(params: dict, ema: dict[str, dict]) -> dict:
    """The params that are judged, loaded, embedded with and started from: the EMA "eval", heads too, where a run keeps one."""
    return overlay(params, ema["eval"]) if ema.get("eval") else params


def overlay(base: dict, partial: dict) -> dict:
    """`base` with the leaves that `partial` holds put in their place."""
    return {k: overlay(v, partial[k]) if isinstance(v, dict) and k in partial else partial.get(k, v)
            for k, v in base.items()}


def size(tree: Any) -> int:
    """Number of entries over all leaves."""
    return sum(int(jnp.size(leaf)) if not hasattr(leaf, "size") else int(leaf.size) for leaf in jax.tree.leaves(tree))
