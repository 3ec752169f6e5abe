"""What of a config can be refused before anything is traced or compiled: each check raises a ValueError with its path."""

from typing import Any

import jax
import numpy as np

from mmrep import config as cfg
from mmrep.augment import MOVES
from mmrep.core import optim, sharding
from mmrep.core.names import nearest, within
from mmrep.data.example import MODALITIES
from mmrep.encoders.inputs import keys_of

# the smallest value of numbers that count things
LEAST = {"micro": 1, "head.dim": 1, "tokenizer.length": 2, "loader.threads": 0, "loader.prefetch": 0, "eval.batch": 1, "eval.limit": 0,
         "save.keep": 1, "mesh.min_shard": 0}


def check_views(terms: dict, reads: dict, specs: dict) -> None:
    """Raise ValueError for a term that reads what its stream has not, or an encoder that nothing in the data is for."""
    for name, term in terms.items():
        fields = {k for k, (shape, _) in specs[term.stream].items() if shape is not None}
        for view in term.objective.views.values():
            for key in keys_of(view, reads[view.modality], fields).values():
                if key not in fields:
                    raise ValueError(f"config.objectives.{name}: reads {key!r}, which config.data.{term.stream} does not give; "
                                     f"{nearest(key, fields)}")
    given = {k.partition("/")[0] for spec in specs.values() for k in spec}
    for name, keys in reads.items():
        if not given.intersection(keys):
            raise ValueError(f"config.encoders.{name}: no stream of config.data gives {next(iter(keys))!r}; leave the encoder "
                             "out, add it to a source, or name what it reads with `field`")


def check_augment(config: Any, specs: dict) -> None:
    """Raise ValueError for an augmentation on the device that would move pixels away from masks or boxes of theirs, or mirror left and
    right beside texts."""
    encoders = cfg.plain(config.encoders)
    for name, given in cfg.plain(config.inputs).items():
        field = encoders.get(name, {}).get("field") or name
        for i, part in enumerate(given.get("augment") or ()):
            sides = part["name"] == "flip" and part.get("p", 0) and part.get("laterality") != "ignore"
            if sides and any(field in spec and "text" in spec for spec in specs.values()):
                if part.get("axis") == {"image": 1, "volume": 2}.get(field.partition("/")[0]):  # of one view [B, (D,) H, W, C]
                    raise ValueError(f"config.inputs.{name}.augment[{i}]: flip would mirror left and right beside texts that may name a "
                                     "side; flip in config.data, which looks at the text, or give laterality='ignore'")
            for key in {key for spec in specs.values() for key in spec} & {f"mask/{field}", "label/boxes"}:
                if field in ("image", "volume") and part["name"] in MOVES:
                    raise ValueError(f"config.inputs.{name}.augment[{i}]: {part['name']} would move {field} away from {key!r}; leave "
                                     "that out of the source, or augment in config.data")


def check_causal(terms: dict, towers: dict) -> None:
    """Raise ValueError for a causal view that a term compares with others, where evaluators would embed without."""
    for name, term in terms.items():
        for view in term.objective.views.values() if term.objective.coupled else ():
            if view.causal and not getattr(towers[view.modality].trunk, "causal", True):  # one without the option refuses by itself
                raise ValueError(f"config.objectives.{name}: compares causal embeddings of {view.modality!r}, but evaluators and "
                                 f"mmrep.load embed as the encoder is: set config.encoders.{view.modality}.causal = True instead")


def check_pairs(terms: dict, reads: dict, sources: dict) -> None:
    """Raise ValueError for a term of several modalities that no training row holds together: its loss would be 0."""
    for name, term in terms.items():
        parts = getattr(sources.get(term.stream), "components", (sources.get(term.stream),))
        keys = {key for view in term.objective.views.values() for key in reads[view.modality]}
        if len(keys) > 1 and not any(_together(part, keys) for part in parts):
            raise ValueError(f"config.objectives.{name}: no training row of config.data.{term.stream} holds {' and '.join(sorted(keys))} "
                             "together; is each in rows of its own? Give a row both")


def _together(source: Any, keys: set[str]) -> bool:
    """Whether a row may hold all of these fields; True where the source does not say."""
    has = getattr(source, "has", None)
    if has is None:
        return True
    known = [has[key] for key in keys if key in has]
    return not known or bool(np.logical_and.reduce(known).any())


def check_heads(config: Any, sources: dict) -> None:
    """Raise ValueError for a supervised head with fewer classes than its label has in the data."""
    for name, term in cfg.plain(config.objectives).items():
        heads = term.get("heads") if term.get("name") == "supervised" else None
        stream = term.get("stream", "main")
        source = sources.get(stream)
        parts = getattr(source, "components", (source,))
        for label, head in (heads if isinstance(heads, dict) else {}).items():
            names = max((getattr(part, "label_names", {}).get(label, ()) for part in parts), key=len)
            if isinstance(head, dict) and head.get("kind") == "ce" and len(names) > head.get("classes", len(names)):
                raise ValueError(f"config.objectives.{name}.heads.{label}.classes: {head['classes']}, but config.data.{stream} "
                                 f"has {len(names)}: {', '.join(map(str, names))}")
            values = [v for part in parts if (v := getattr(part, "labels", {}).get(label)) is not None and v.dtype.kind == "i"]
            if isinstance(head, dict) and head.get("kind") == "ce" and values:
                most = max(int(v.max(initial=-1)) for v in values)
                if most >= head.get("classes", most + 1):
                    raise ValueError(f"config.objectives.{name}.heads.{label}.classes: {head['classes']}, but config.data.{stream} "
                                     f"has a class {most}, counted from 0; set {most + 1}, or number the classes from 0")


def check_batches(config: Any, mesh: Any) -> None:
    """Raise ValueError where a batch does not divide over mesh x micro-batches, or the mesh's rows over the hosts."""
    shards, hosts = sharding.row_shards(mesh), jax.process_count()
    if shards % hosts:
        raise ValueError(f"config.mesh: the rows are split {shards} ways (data x fsdp), which {hosts} hosts do not divide: two "
                         "hosts would give different rows for one place; use less of config.mesh.tensor")
    for name, stream in config.data.items():
        if type(stream.batch) is not int or stream.batch < 1:
            raise ValueError(f"config.data.{name}.batch: {stream.batch!r} is no number of examples")
        if config.micro < 1 or stream.batch % (shards * config.micro):
            good = max(shards * config.micro, 1)
            raise ValueError(f"config.data.{name}.batch: {stream.batch} does not divide over {shards} row shards "
                             f"(config.mesh data x fsdp) x {config.micro} micro-batches (config.micro); "
                             f"use a multiple of {good}, e.g. {max(1, round(stream.batch / good)) * good}")


def check_names(config: Any) -> None:
    """Raise ValueError for a seed, schedule, dtype, rule, term, pixel scale or EMA entry that cannot be."""
    for key in ("rules", "objectives", "nets", "encoders", "inputs"):
        entries = cfg.plain(config[key])
        for name, entry in entries.items() if isinstance(entries, dict) else enumerate(entries):
            if not isinstance(entry, dict):
                raise ValueError(f"config.{key}.{name}: {entry!r} is no dict")
    for name, scale in cfg.plain(config.inputs).items():
        if name not in {*config.encoders, *MODALITIES}:
            raise ValueError(f"config.inputs.{name}: there is no such encoder; {nearest(name, config.encoders)}")
        for key, values in scale.items():
            if key not in ("mean", "std", "augment"):
                raise ValueError(f"config.inputs.{name}.{key}: unknown key; {nearest(key, ('mean', 'std', 'augment'))}")
            if key == "augment":  # checked where it is built
                continue
            for value in values if isinstance(values, tuple) else (values,):
                if cfg.number(value, f"config.inputs.{name}.{key}") <= 0 and key == "std":
                    raise ValueError(f"config.inputs.{name}.std: {value} is not above 0")
    if not 0 <= config.seed < 2**31:
        raise ValueError(f"config.seed: {config.seed} is not in 0 .. 2**31 - 1")
    for path, least in LEAST.items():
        node = config
        for key in path.split("."):
            node = node[key]
        within(f"config.{path}", node, least)
    for name, stream in config.data.items():
        within(f"config.data.{name}.cache_mib", stream.get("cache_mib", 0), 0)
    for name, tower in config.encoders.items():
        for key in ("depth", "width", "heads", "length"):
            where, counts = f"config.encoders.{name}.{key}", tower.get(key, 1)
            for count in counts if isinstance(counts, (tuple, list)) else (counts,):  # some encoders have several stages
                cfg.number(count, where)
                within(where, count, 1)
    if config.optim.schedule not in optim.SCHEDULES:
        raise ValueError(f"config.optim.schedule: unknown {config.optim.schedule!r}; "
                         f"{nearest(config.optim.schedule, optim.SCHEDULES)}")
    if config.save.mode not in ("max", "min"):
        raise ValueError(f"config.save.mode: {config.save.mode!r}; valid: max, min")
    if config.dtype not in ("float32", "bfloat16"):
        raise ValueError(f"config.dtype: {config.dtype!r}; {nearest(config.dtype, ('float32', 'bfloat16'))}")
    for name, ema in cfg.plain(config.ema).items():
        if not isinstance(ema, dict):
            raise ValueError(f"config.ema.{name}: {ema!r} is no dict, such as {{'decay': 0.999}}")
        for key in ema:
            if key not in ("decay", "final"):
                raise ValueError(f"config.ema.{name}.{key}: unknown key; {nearest(key, ('decay', 'final'))}")
            if not 0 <= cfg.number(ema[key], f"config.ema.{name}.{key}") <= 1:
                raise ValueError(f"config.ema.{name}.{key}: {ema[key]} is not in [0, 1]")
