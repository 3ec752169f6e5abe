"""Towers: an encoder with its projection head for every modality, as one pure `encode`."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mmrep import config as cfg
from mmrep.augment import augment
from mmrep.core.names import located, nearest
from mmrep.core.types import Array, Batch, Encoded, Net, Objective, Params, Term, View
from mmrep.encoders import ENCODERS
from mmrep.encoders.inputs import Fields, fields_of, read, to_float
from mmrep.encoders.layers import Dense
from mmrep.fusion import NETS
from mmrep.objectives import OBJECTIVES

PICTURES = ("image", "volume")  # whose floats are standardized already
HEADS = ("linear", "mlp", "none")
MARKED = {"table": "tabular", "bag": "features"}  # encoders of fields whose entries may be marked as missing or as padding
TERM_KEYS = ("weight", "stream", "from", "until", "ramp")


class Tower(nn.Module):
    """An encoder (`trunk`) and the projection of its pooled output to a unit-norm embedding f32[B, dim]."""

    trunk: nn.Module
    kind: str
    dim: int
    dtype: Any = jnp.float32
    field: str = ""  # the batch key that the trunk reads, where it is not the encoder's name

    @nn.compact
    def __call__(self, x: Array, keys: Array | None = None, mask: float | None = None, causal: bool = False) -> Encoded:
        encoded = self.trunk(x, keys, mask, causal)
        y = encoded.pooled
        if self.kind == "mlp":
            y = nn.gelu(Dense(y.shape[-1], self.dtype, name="hidden")(y))
        if self.kind != "none":
            y = Dense(self.dim, self.dtype, name="head")(y)
        y = y.astype(jnp.float32)
        y = y * jax.lax.rsqrt(jnp.maximum((y * y).sum(-1, keepdims=True), 1e-12))
        return encoded._replace(embedding=y)


def towers(config: Any, vocab: int, length: int, measured: dict[str, Any]) -> dict[str, Tower]:
    """A Tower for each entry of `config.encoders`; a text encoder takes vocab and length from the tokenizer, a table's its columns
    from the data (`measure.measure`).

    An entry is named after the modality that it reads, or says so with `field`: {"second": {"name": "vit", "field": "image"}}.
    """
    if config.head.kind not in HEADS:
        raise ValueError(f"config.head.kind: unknown {config.head.kind!r}; {nearest(config.head.kind, HEADS)}")
    if not config.encoders:
        raise ValueError("config.encoders: is empty; give e.g. {'image': {'name': 'vit'}, 'text': {'name': 'text'}}")
    dtype = jnp.dtype(config.dtype)
    context = {"vocab": vocab, "length": length, "dtype": dtype, "columns": measured["columns"],
               "cardinalities": tuple(measured["cardinalities"])}
    built = {}
    for m, spec in cfg.plain(config.encoders).items():
        field, where = spec.get("field", ""), f"config.encoders.{m}"
        masked = f"mask/{MARKED.get(spec.get('name'))}" in measured["masks"]
        trunk = cfg.build(ENCODERS, {k: v for k, v in spec.items() if k != "field"}, where, masked=masked, **context)
        built[m] = Tower(trunk, config.head.kind, config.head.dim, dtype, field)
    return built


def reads_of(tower: Tower, name: str) -> Fields:
    """The batch keys that a tower reads, and the axes of an example of each; name: its own in `config.encoders`."""
    return fields_of(tower.trunk, tower.field or name)


def scales(config: Any, measured: dict[str, Any]) -> dict[str, dict]:
    """Encoder or field -> {"mean", "std", "augment": a function}, of `config.inputs` and of what was measured of tables and vectors."""
    encoders, out = cfg.plain(config.encoders), dict(measured["scales"])
    for name, given in cfg.plain(config.inputs).items():
        field = encoders.get(name, {}).get("field") or name
        made = {"augment": augment(given["augment"], f"config.inputs.{name}.augment")} if given.get("augment") else {}
        out[name] = measured["scales"].get(field, {}) | {k: v for k, v in given.items() if k != "augment"} | made
    return out


def traced_scales(config: Any, measured: dict[str, Any]) -> dict[str, dict]:
    """Of `scales` what was measured, f32 arrays: it is traced, so that runs on other data of the same form share a program."""
    given = cfg.plain(config.inputs)
    return {name: {k: jnp.asarray(scale[k], jnp.float32) for k in ("mean", "std") if k in scale and k not in given.get(name, {})}
            for name, scale in scales(config, measured).items()}


def make_encode(towers: dict[str, Tower], inputs: dict[str, dict]) -> Callable:
    """encode(params["encoders"], view, batch, keys | None) -> Encoded; batch: raw fields, u8 pixels, i32 tokens or a table's numbers.

    inputs: as `scales` gives them. keys: [B] in training, when inputs are augmented, None otherwise. measured: of `traced_scales`, in the
    place of constants in `inputs`.
    """

    def encode(params: Params, view: View, batch: Batch, keys: Array | None = None, measured: dict[str, dict] | None = None) -> Encoded:
        if view.modality not in towers:
            raise ValueError(f"no encoder for {view.modality!r}; {nearest(view.modality, towers)}")
        tower = towers[view.modality]
        fields = reads_of(tower, view.modality)
        now = {name: scale | (measured or {}).get(name, {}) for name, scale in inputs.items()}
        x = floats(read(batch, view, fields), tower.field or view.modality, now, view.modality, fields, keys)
        return tower.apply({"params": params[view.modality]}, x, keys, view.mask, view.causal)

    return encode


def floats(x: Any, field: str, inputs: dict[str, dict], name: str = "", fields: Iterable[str] = (), keys: Array | None = None) -> Any:
    """Raw fields as an encoder takes them: its own pixels or numbers scaled as `config.inputs` says under the encoder's name or the
    field's, augmented where there are keys; of other fields (masks, categories) only those that it names.

    fields: that the encoder reads; where `field` is none of them (a table's encoder of another name), the first is its own.
    """
    field = next(iter(fields), field) if field not in fields else field
    own = inputs.get(name, inputs.get(field, {}))

    def scaled(one: Array, scale: dict, key: str) -> Array:
        change, rest = scale.get("augment"), {k: v for k, v in scale.items() if k != "augment"}
        return to_float(one, **rest, between=partial(change, keys=keys) if change and keys is not None else lambda x: x,
                        numbers=key not in PICTURES and bool(rest))

    if not isinstance(x, dict):
        return scaled(x, own, field)
    return {key: scaled(one, own, key) if key == field else scaled(one, inputs[key], key) if key in inputs else one
            for key, one in x.items()}


def make_terms(config: Any, vocab: int) -> dict[str, Term]:
    """The objectives of `config.objectives`, each with its stream. Raises ValueError naming what is wrong."""
    if not config.objectives:
        raise ValueError("config.objectives: is empty; give e.g. {'clip': {'name': 'contrastive'}}")
    terms = {}
    for name, spec in cfg.plain(config.objectives).items():
        where = f"config.objectives.{name}"
        stream = spec.get("stream", "main")
        if stream not in config.data:
            raise ValueError(f"{where}.stream: unknown stream {stream!r}; {nearest(stream, config.data)}")
        kwargs = {k: v for k, v in spec.items() if k not in TERM_KEYS}
        cfg.check(OBJECTIVES, kwargs, where, ("vocab", "dtype"), TERM_KEYS)
        terms[name] = Term(cfg.build(OBJECTIVES, kwargs, where, vocab=vocab, dtype=jnp.dtype(config.dtype)), stream)
    for name, term in terms.items():
        where, after = f"config.objectives.{name}", term.objective.after
        if after is not None and (after not in terms or terms[after].stream != term.stream):
            raise ValueError(f"{where}.after: {after!r} is no term of the same stream; {nearest(after, terms)}")
        if after is not None:
            if term.objective.coupled or term.objective.update:
                raise ValueError(f"{where}: a term with `after` is separable and keeps no state; the second pass gives neither")
            _check_after(where, term.objective, after, terms[after].objective)
        for view in term.objective.views.values():
            if view.modality not in config.encoders:
                raise ValueError(f"{where}: needs an encoder for {view.modality!r}; "
                                 f"config.encoders has {sorted(config.encoders)}")
            if view.net != "student" and view.net not in config.ema:
                raise ValueError(f"{where}: needs the EMA {view.net!r}; set config.ema.{view.net} = "
                                 "{'decay': 0.99, 'final': 1.0}")
    return terms


def _check_after(where: str, objective: Objective, after: str, first: Objective) -> None:
    """Raise ValueError where the term `after` does not give the embeddings of the same views a and b."""
    for view in ("a", "b"):
        if first.after is not None or "embedding" not in first.needs.get(view, ()):
            raise ValueError(f"{where}.after: {after!r} gives no embeddings of two views; name a contrastive or sigmoid term")
        if first.views[view] != objective.views[view]:
            raise ValueError(f"{where}.{view}: is not {view} of {after!r}, whose similarities it draws from: "
                             f"{objective.views[view].modality!r}, there {first.views[view].modality!r}")


def make_nets(config: Any) -> dict[str, Net]:
    """The shared modules of `config.nets`."""
    return {n: cfg.build(NETS, spec, f"config.nets.{n}", dtype=jnp.dtype(config.dtype)) for n, spec in config.nets.items()}


def make_init(towers: dict[str, Tower], encode: Callable, nets: dict[str, Net], terms: dict[str, Term],
              inputs: dict[str, dict]) -> Callable:
    """init(rng, batches, hp) -> (params, aux), to be jitted whole; batches: {stream: Batch}, of which only shapes count."""

    def init(rng: Array, batches: dict[str, Batch], hp: dict) -> tuple[Params, dict]:
        def key(*path: str) -> Array:
            out = rng
            for part in path:  # by name, so that a new term changes no other's start
                out = jax.random.fold_in(out, sum(ord(c) * 257**i for i, c in enumerate(part)) % 2**31)
            return out

        encoders, by_modality, keys = {}, {}, jax.random.split(rng, 1)
        for m, tower in towers.items():
            view, batch = _first_view(m, terms, batches, tower)
            with located(f"config.encoders.{m}"):
                one = _one(batch)
                x = floats(read(one, view, fields := reads_of(tower, m)), tower.field or m, inputs, m, fields)
                encoders[m] = tower.init(key("encoders", m), x)["params"]
                if nets:
                    by_modality[m] = jax.eval_shape(lambda p, b, v=view: encode(p, View(m, v.sample, v.crop), b), encoders, one)
        objectives, aux = {}, {}
        for name, term in terms.items():
            with located(f"config.objectives.{name}"):
                o, batch = term.objective, batches[term.stream]
                shapes = {v: jax.eval_shape(lambda p, b, view=view: encode(p, view, b, keys), encoders, _one(batch))
                          for v, view in o.views.items()} | {"batch": batch, "nets": nets}
                params, state = o.init(key("objectives", name), shapes, hp["terms"][name])
            objectives |= {name: params} if params else {}
            aux |= {name: state} if state else {}
        shared = {}
        for n, net in nets.items():
            with located(f"config.nets.{n}"):
                shared[n] = net.init(key("nets", n), by_modality)
        return {"encoders": encoders, "objectives": objectives, "nets": shared}, aux

    return init


def _first_view(modality: str, terms: dict[str, Term], batches: dict[str, Batch], tower: Tower) -> tuple[View, Batch]:
    """A view of the modality and a batch that has it: the first that a term asks for, else of any stream."""
    for term in terms.values():
        for view in term.objective.views.values():
            if view.modality == modality:
                return view, batches[term.stream]
    batch = next((b for b in batches.values() if all(key in b for key in reads_of(tower, modality))), None)
    if batch is None:
        raise ValueError(f"config.encoders.{modality}: no stream of config.data gives {modality!r}; leave the encoder out, or "
                         f"add {modality!r} to a source")
    return View(modality), batch


def _one(batch: Batch) -> Batch:
    """The first row of a batch."""
    return jax.tree.map(lambda x: x[:1], batch)
