"""Configs: load, override, validate, resolve names and durations, snapshot, diff."""

import ast
import difflib
import hashlib
import importlib.util
import inspect
import json
import math
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ml_collections
from ml_collections import ConfigDict

from mmrep.core.names import NEAR, located, nearest


def load(spec: str, overrides: Iterable[str] = ()) -> ConfigDict:
    """The config of `FILE.py[:arg]` (its `get_config(arg)`) with overrides such as `optim.lr=3e-4`.

    Raises FileNotFoundError for the file, ValueError for an argument or override, naming the nearest valid key.
    """
    path, _, arg = spec.partition(":")
    file = Path(path)
    if not file.is_file():
        known = sorted(str(p) for p in (file.parent if file.parent.is_dir() else Path("configs")).glob("*.py"))
        raise FileNotFoundError(f"config {path}: no such file; {nearest(path, known)}")
    with _beside(file), one_line(file):  # all of it: get_config may import, too
        module_spec = importlib.util.spec_from_file_location(f"mmrep_config_{file.stem}", file)
        module = importlib.util.module_from_spec(module_spec)
        module_spec.loader.exec_module(module)
        if not hasattr(module, "get_config"):
            raise ValueError(f"config {path}: has no get_config(arg)")
        takes_arg = bool(inspect.signature(module.get_config).parameters)
        if arg and not takes_arg:
            raise ValueError(f"config {path}: its get_config takes no argument; leave out {':' + arg!r}")
        config = module.get_config(arg) if takes_arg else module.get_config()
        base = getattr(sys.modules.get("base"), "get_config", lambda: None)()
    if base is not None:
        _check_keys(config, base)
    config.lock()
    for override in overrides:
        apply(config, override)
    return config


@contextmanager
def _beside(file: Path) -> Iterator[None]:
    """A config may import `base` and its neighbors from its own folder or the one above (configs/systems/*.py); forgotten
    afterwards, for another folder's may have the same names."""
    folders = [str(f) for f in (file.resolve().parent, file.resolve().parent.parent) if (f / "base.py").is_file()]
    sys.path[:0] = folders
    before = set(sys.modules)
    try:
        yield
    finally:
        del sys.path[:len(folders)]
        for name in set(sys.modules) - before:
            if Path(getattr(sys.modules[name], "__file__", None) or ".").parent in map(Path, folders):
                del sys.modules[name]


@contextmanager
def one_line(file: Path) -> Iterator[None]:
    """An exception inside a config file, as one line that names the file and the line of it."""
    try:
        yield
    except ValueError:
        raise  # says what is wrong itself
    except Exception as error:
        at = [f.lineno for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).name == file.name]
        line = error.lineno if isinstance(error, SyntaxError) else at[-1] if at else None
        text = " ".join(str(error).split())
        if isinstance(error, ModuleNotFoundError) and error.name == "base":
            text += "; it is imported from the config's own folder or the one above: put the config beside configs/base.py"
        raise ValueError(f"config {file}{f' line {line}' if line else ''}: {type(error).__name__}: {text}") from error


# Under these the keys are the user's (names of encoders, terms, ...) or the kwargs of what is built: checked there.
FREE = ("encoders", "inputs", "nets", "objectives", "data", "evals", "ema", "tokenizer", "optim.kwargs", "init.rename")


def _free(path: str) -> bool:
    return any(path == f or path.startswith(f + ".") for f in FREE)


def _check_keys(config: Any, base: Any, prefix: str = "") -> None:
    """Raise ValueError for a key or a type that `base` has not."""
    for key in config:
        path = prefix + key
        if _free(path):
            if not isinstance(config[key], ConfigDict):
                raise ValueError(f"config.{path}: {config[key]!r} is no dict")
            continue
        if key not in base:
            raise ValueError(f"config.{path}: unknown key; {nearest(key, base)}")
        if isinstance(base[key], ConfigDict) != isinstance(config[key], ConfigDict):
            raise ValueError(f"config.{path}: {plain(config[key])!r} is no {_kind(base[key])}")
        if isinstance(base[key], ConfigDict):
            _check_keys(config[key], base[key], path + ".")
        else:
            _typed(config[key], base[key], f"config.{path}")
    for key in base:
        if key not in config:
            raise ValueError(f"config.{prefix}{key}: is missing; start from base.get_config()")


def _kind(value: Any) -> str:
    return {"ConfigDict": "dict", "str": "text"}.get(type(value).__name__, type(value).__name__)


def _typed(value: Any, old: Any, where: str) -> Any:
    """`value` as the type of `old`: a whole number is a float, too; None accepts anything. Raises ValueError."""
    if isinstance(old, float) and type(value) is int:
        return float(value)
    if isinstance(old, (tuple, list)) and isinstance(value, (tuple, list)):
        return type(old)(value)
    if old is None or isinstance(old, ConfigDict) and isinstance(value, (dict, ConfigDict)):
        return value
    if type(value) is not type(old):
        raise ValueError(f"{where}: {value!r} is no {_kind(old)}" + (f", such as {plain(old)!r}" if old else ""))
    return value


# what a config must hold; the values are in configs/base.py
NEEDED = """seed total micro mesh.data mesh.fsdp mesh.tensor mesh.min_shard dtype encoders head.kind head.dim inputs
nets objectives data tokenizer.name tokenizer.length loader.threads loader.prefetch optim.name optim.kwargs optim.lr
optim.wd optim.warmup optim.schedule optim.end optim.cooldown optim.clip ema rules init.path init.only init.rename evals
eval.every eval.batch eval.limit eval.controls save.every save.metric save.mode save.keep log.every log.tensorboard
stages""".split()
LATER = ("log.wandb", "log.mlflow")  # configs of older runs have none


def check_keys(config: Any) -> None:
    """Raise ValueError for a key that every config has and this one lacks."""
    for path in NEEDED:
        node = config
        for part in path.split("."):
            if not isinstance(node, ConfigDict) or part not in node:
                raise ValueError(f"config.{path}: is missing; start the config from base.get_config()")
            node = node[part]


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
    return _typed(value, old, where)


def _paths(node: Any, prefix: str = "") -> list[str]:
    """The paths of all keys, outer ones first."""
    if not isinstance(node, ConfigDict):
        return []
    return [prefix + str(key) for key in node] + [path for key in node for path in _paths(node[key], f"{prefix}{key}.")]


def _advice(config: ConfigDict, part: str, node: ConfigDict) -> str:
    """What to write instead of an unknown key: the paths that end in it (lr: optim.lr), else the nearest key here or anywhere."""
    paths: dict[str, list[str]] = {}
    for path in _paths(config):
        paths.setdefault(path.rsplit(".", 1)[-1], []).append(f"config.{path}")
    there = paths.get(part, [])
    if not there and not difflib.get_close_matches(part, node, 1, NEAR):
        there = [path for name in difflib.get_close_matches(part, paths, 1) for path in paths[name]]
    return f"did you mean {' or '.join(there[:3])}?" if there else nearest(part, node)


def apply(config: ConfigDict, override: str) -> None:
    """Set `a.b.c=value` in place, with the type of the old value. What is built from kwargs may get new keys (they are
    checked when it is built). Raises ValueError naming the nearest key."""
    key, given, text = override.removeprefix("--").removeprefix("config.").partition("=")
    if not given:
        raise ValueError(f"override {override!r}: write --config.key=value")
    node, parts = config, key.split(".")
    for i, part in enumerate(parts):
        if not isinstance(node, ConfigDict):
            raise ValueError(f"config.{'.'.join(parts[:i])}: has no key {part!r}: it is {plain(node)!r}")
        last = i == len(parts) - 1
        if part not in node and not (last and _free(".".join(parts[:i]))):
            raise ValueError(f"config.{'.'.join(parts[:i + 1])}: unknown key; {_advice(config, part, node)}")
        if not last:
            node = node[part]
    old = node[parts[-1]] if parts[-1] in node else None
    if isinstance(old, ConfigDict) and not text.strip().startswith("{"):
        raise ValueError(f"config.{key}: is a dict; set one of its keys: {', '.join(old) or 'it has none yet'}")
    value = _value(text, old, f"config.{key}")
    if isinstance(value, dict) and not _free(key):
        raise ValueError(f"config.{key}: set its keys one by one: {', '.join(node[parts[-1]])}")
    with node.unlocked(), node.ignore_type():
        node[parts[-1]] = ConfigDict(value) if isinstance(value, dict) else value


def override_with(config: ConfigDict, changes: dict, where: str) -> ConfigDict:
    """A copy with nested changes, e.g. a stage's; dicts merge, and None removes a term, a stream, a kwarg.

    Raises ValueError for an unknown key or a value of another type.
    """
    out = ConfigDict(config.to_dict())

    def merge(node: ConfigDict, new: dict, prefix: str) -> None:
        for key, value in new.items():
            path = prefix + key
            if key not in node and not _free(prefix[:-1]):
                raise ValueError(f"{where}: config.{path}: unknown key; {nearest(key, node)}")
            if value is None and _free(prefix[:-1]):
                if key in node:
                    del node[key]
            elif isinstance(value, dict) and isinstance(node.get(key), ConfigDict):
                merge(node[key], value, path + ".")
            else:
                value = _typed(value, node.get(key), f"{where}: config.{path}")
                if type(value) is type(node.get(key)):  # ignore_type walks through all below the node, which thousands of runs would feel
                    node[key] = value
                    continue
                with node.ignore_type():
                    node[key] = ConfigDict(value) if isinstance(value, dict) else value

    merge(out, changes, "")
    return out.lock()


def with_change(config: ConfigDict, key: str, value: Any, where: str) -> ConfigDict:
    """A copy with one key changed. A dict merges with what is there, but for a {name, ...} of another name, which replaces it."""
    parts = key.removeprefix("config.").split(".")
    node: Any = config
    for i, part in enumerate(parts[:-1]):
        path = ".".join(parts[:i + 1])
        if not isinstance(node, ConfigDict) or part not in node:
            advice = _advice(config, part, node) if isinstance(node, ConfigDict) else f"it is {plain(node)!r}"
            raise ValueError(f"{where}: config.{path}: unknown key; {advice}")
        node = node[part]
    if not isinstance(node, ConfigDict):
        raise ValueError(f"{where}: config.{'.'.join(parts[:-1])}: has no key {parts[-1]!r}: it is {plain(node)!r}")
    old = node.get(parts[-1])
    if isinstance(value, dict) and isinstance(old, ConfigDict) and "name" in value and value["name"] != old.get("name"):
        value = {k: None for k in old} | value
    if parts[-1] not in node and not _free(".".join(parts[:-1]) or parts[0]):
        raise ValueError(f"{where}: config.{key}: unknown key; {_advice(config, parts[-1], node)}")
    nested: Any = value
    for part in reversed(parts):
        nested = {part: nested}
    return override_with(config, nested, where)


def check(table: dict[str, Callable], spec: Any, where: str, context: Iterable[str] = (), also: Iterable[str] = ()
          ) -> dict[str, Any]:
    """The spec {name, **kwargs} as a plain dict. Raises ValueError naming the config path and the nearest valid name
    for a name that `table` lacks or a kwarg that it does not take. context: kwargs that the program gives; also: keys that
    may stand beside the kwargs."""
    spec = plain(spec)
    if not isinstance(spec, dict) or "name" not in spec:
        raise ValueError(f"{where}: needs a {{name, ...}} dict; got {spec!r}")
    name = spec["name"]
    if name not in table:
        raise ValueError(f"{where}.name: unknown {name!r}; {nearest(str(name), table)}")
    takes = _takes(table[name])
    for key in spec:
        if key != "name" and key not in takes - {"name"}:
            raise ValueError(f"{where}.{key}: {name} takes no {key!r}; {nearest(key, takes.union(also) - {*context, 'name'})}")
        annotated = inspect.signature(table[name]).parameters[key].annotation if key != "name" else None
        for kind in (bool, int, float, str):  # of a union, the function itself judges
            if annotated in (kind, kind.__name__):
                _typed(spec[key], kind(), f"{where}.{key}")
    return spec


def _takes(fn: Callable) -> set[str]:
    return {k for k, p in inspect.signature(fn).parameters.items() if p.kind is not p.VAR_KEYWORD} - {"parent"}


def build(table: dict[str, Callable], spec: Any, where: str, **context: Any) -> Any:
    """Call `table[spec.name]` with the other keys of the spec, and with those of `context` that it takes.

    Raises ValueError naming the config path, and for an unknown name or kwarg the nearest valid one.
    """
    kwargs = check(table, spec, where, context)
    name = kwargs.pop("name")
    takes = _takes(table[name])
    kwargs = {k: v for k, v in context.items() if k in takes} | kwargs
    lacking = [k for k, p in inspect.signature(table[name]).parameters.items()
               if k not in kwargs and p.default is p.empty and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    if lacking:
        raise ValueError(f"{where}: {name} needs {', '.join(lacking)}: {{'name': {name!r}, {', '.join(f'{k!r}: ...' for k in lacking)}}}")
    with located(where):
        return table[name](**kwargs)


def plain(value: Any) -> Any:
    """ConfigDicts, also inside tuples, to plain dicts; lists to tuples."""
    if isinstance(value, (ConfigDict, ml_collections.FrozenConfigDict)):
        value = value.to_dict()
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    return tuple(plain(v) for v in value) if isinstance(value, (list, tuple)) else value


def number(value: Any, where: str) -> float:
    """A finite number. Raises ValueError naming `where` for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{where}: {value!r} is no number")
    return float(value)


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
    if key not in units or not 0 <= number < math.inf or len(words) > 2:
        raise ValueError(f"{where}: {duration!r} is no duration here; write a number >= 0 and steps, epochs"
                         f"{' or examples' if total is None else ', examples or %'}, e.g. '600 steps'")
    # what is not 0 is at least one step: "0.1%" of a short run must not switch a thing off
    return max(int(round(number * units[key])), 1 if number else 0)


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
