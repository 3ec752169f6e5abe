"""Configs: load, override, validate, resolve names and durations, snapshot, diff."""

import ast
import hashlib
import importlib.util
import inspect
import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import ml_collections
from ml_collections import ConfigDict

from mmrep.core.names import nearest


def load(spec: str, overrides: Iterable[str] = ()) -> ConfigDict:
    """The config of `FILE.py[:arg]` (its `get_config(arg)`) with overrides such as `optim.lr=3e-4`.

    Raises FileNotFoundError for the file, ValueError for an argument or override, naming the nearest valid key.
    """
    path, _, arg = spec.partition(":")
    file = Path(path)
    if not file.is_file():
        known = sorted(str(p) for p in (file.parent if file.parent.is_dir() else Path("configs")).glob("*.py"))
        raise FileNotFoundError(f"config {path}: no such file; {nearest(path, known)}")
    sys.path.insert(0, str(file.resolve().parent))  # a config may import `base` beside it
    try:
        module_spec = importlib.util.spec_from_file_location(f"mmrep_config_{file.stem}", file)
        module = importlib.util.module_from_spec(module_spec)
        module_spec.loader.exec_module(module)
        base = importlib.import_module("base").get_config() if (file.resolve().parent / "base.py").is_file() else None
    finally:
        sys.path.pop(0)
    if not hasattr(module, "get_config"):
        raise ValueError(f"config {path}: has no get_config(arg)")
    config = module.get_config(arg) if inspect.signature(module.get_config).parameters else module.get_config()
    if base is not None:
        for key in config:
            if key not in base:
                raise ValueError(f"config.{key}: unknown key; {nearest(key, base)}")
    config.lock()
    for override in overrides:
        apply(config, override)
    return config


def parse_arg(arg: str, **defaults: Any) -> ConfigDict:
    """`smoke,size=64` to a ConfigDict of the defaults' keys and types; a bare name sets a bool."""
    out = ConfigDict(defaults)
    for part in filter(None, arg.split(",")):
        key, given, value = part.partition("=")
        if key not in out:
            raise ValueError(f"config argument {key!r} is unknown; {nearest(key, out)}")
        out[key] = _value(value, out[key], f"argument {key}") if given else True
    return out


def _value(text: str, old: Any, where: str) -> Any:
    """Text to a value of the type that the key has now."""
    if isinstance(old, str):
        return text.strip("'\"") if text[:1] in "'\"" and text else text
    try:
        value = {"true": True, "false": False, "none": None}.get(text.lower(), ...)
        value = ast.literal_eval(text) if value is ... else value
    except (ValueError, SyntaxError):
        value = text
    if isinstance(old, bool) is not isinstance(value, bool) and isinstance(old, (bool, int, float)):
        raise ValueError(f"{where}: {text!r} is no {type(old).__name__}")
    if isinstance(old, float) and isinstance(value, int):
        value = float(value)
    if old is not None and not isinstance(old, ConfigDict) and not isinstance(value, type(old)):
        raise ValueError(f"{where}: {text!r} is no {type(old).__name__}")
    return value


def apply(config: ConfigDict, override: str) -> None:
    """Set `a.b.c=value` in place, with the type of the old value. Inside a {name, ...} dict new keys may be added
    (its kwargs are checked when it is built)."""
    key, given, text = override.removeprefix("--").removeprefix("config.").partition("=")
    if not given:
        raise ValueError(f"override {override!r}: write --config.key=value")
    node, parts, open_ = config, key.split("."), False
    for i, part in enumerate(parts[:-1]):
        if part not in node:
            raise ValueError(f"config.{'.'.join(parts[:i + 1])}: unknown key; {nearest(part, node)}")
        node = node[part]
        if not isinstance(node, ConfigDict):
            raise ValueError(f"config.{'.'.join(parts[:i + 1])}: has no key {parts[i + 1]!r}")
        open_ = open_ or "name" in node
    last = parts[-1]
    if last not in node and not open_:
        raise ValueError(f"config.{key}: unknown key; {nearest(last, node)}")
    old = node[last] if last in node else None
    value = _value(text, old, f"config.{key}")
    with node.unlocked(), node.ignore_type():
        node[last] = value


def override_with(config: ConfigDict, changes: dict, where: str) -> ConfigDict:
    """A copy with nested changes, e.g. a stage's. Raises ValueError for an unknown key."""
    out = ConfigDict(config.to_dict())

    def merge(node: ConfigDict, new: dict, path: str, open_: bool) -> None:
        for key, value in new.items():
            if key not in node and not open_:
                raise ValueError(f"{where}: config{path}.{key}: unknown key; {nearest(key, node)}")
            if isinstance(value, dict) and key in node and isinstance(node[key], ConfigDict) and len(node[key]):
                merge(node[key], value, f"{path}.{key}", open_ or "name" in node[key])
            else:
                node[key] = value

    merge(out, changes, "", False)
    return out.lock()


def build(table: dict[str, Callable], spec: Any, where: str, **context: Any) -> Any:
    """Call `table[spec.name]` with the other keys of the spec, and with those of `context` that it takes.

    Raises ValueError naming the config path and the nearest valid name for an unknown name or kwarg.
    """
    kwargs = plain(spec)
    if not isinstance(kwargs, dict) or "name" not in kwargs:
        raise ValueError(f"{where}: needs a {{name, ...}} dict; got {kwargs!r}")
    name = kwargs.pop("name")
    if name not in table:
        raise ValueError(f"{where}.name: unknown {name!r}; {nearest(name, table)}")
    takes = {k for k, p in inspect.signature(table[name]).parameters.items() if p.kind is not p.VAR_KEYWORD}
    takes -= {"parent"}
    for key in kwargs:
        if key not in takes or (key == "name" and key in takes):
            raise ValueError(f"{where}.{key}: {name} takes no {key!r}; {nearest(key, takes - set(context) - {'name'})}")
    try:
        return table[name](**({k: v for k, v in context.items() if k in takes} | kwargs))
    except TypeError as error:
        raise ValueError(f"{where}: {error}") from None


def plain(value: Any) -> Any:
    """ConfigDicts, also inside tuples, to plain dicts; lists to tuples."""
    if isinstance(value, (ConfigDict, ml_collections.FrozenConfigDict)):
        value = value.to_dict()
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    return tuple(plain(v) for v in value) if isinstance(value, (list, tuple)) else value


def steps(duration: str | int, where: str, *, batch: int, examples: int, total: int | None = None) -> int:
    """A duration in steps. `batch`: global batch; `examples`: of the training split; `total`: steps of the run."""
    words = str(duration).replace("%", " %").split()
    try:
        number, unit = float(words[0]), words[1] if len(words) > 1 else "steps"
    except (ValueError, IndexError):
        raise ValueError(f"{where}: {duration!r} is no duration; write e.g. '600 steps', '3 epochs', '5%'") from None
    per_epoch = max(examples // batch, 1)
    units = {"step": 1, "epoch": per_epoch, "example": 1 / batch}
    if total is not None:
        units["%"] = total / 100
    key = unit.rstrip("s") if unit != "%" else unit
    if key not in units or number < 0 or len(words) > 2:
        raise ValueError(f"{where}: {duration!r} is no duration; {nearest(unit, ['steps', 'epochs', 'examples', '%'])}")
    return int(round(number * units[key]))


def to_json(config: ConfigDict) -> str:
    """The config as sorted JSON."""
    return json.dumps(plain(config), sort_keys=True, indent=1)


def from_json(text: str) -> ConfigDict:
    """The inverse of `to_json`."""
    return ConfigDict(plain(json.loads(text))).lock()


def digest(config: Any) -> str:
    """12 hex digits that name a config."""
    return hashlib.sha256(json.dumps(plain(config), sort_keys=True).encode()).hexdigest()[:12]


def diff(a: Any, b: Any, prefix: str = "") -> dict[str, tuple[Any, Any]]:
    """{key path: (value in a, value in b)} of what differs."""
    a, b, out = plain(a), plain(b), {}
    for key in sorted({*a, *b}):
        x, y = a.get(key), b.get(key)
        if isinstance(x, dict) and isinstance(y, dict):
            out |= diff(x, y, f"{prefix}{key}.")
        elif x != y:
            out[f"{prefix}{key}"] = (x, y)
    return out
