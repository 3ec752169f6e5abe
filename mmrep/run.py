"""A run's parts from its config: what `train`, `evaluate`, `check` and `bench` share. Nothing here compiles."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mmrep import config as cfg
from mmrep.core import optim, sharding, step, tree
from mmrep.core.profiling import device_kinds
from mmrep.core.types import TrainState
from mmrep.data import pipeline, streams
from mmrep.data.example import is_field
from mmrep.encoders.inputs import complete
from mmrep.hyper import hyperparameters, program_key
from mmrep.measure import NOTHING, measure
from mmrep.model import make_encode, make_init, make_nets, make_terms, reads_of, scales, towers, traced_scales
from mmrep.shared import Shared, forget
from mmrep.validate import check_augment, check_batches, check_causal, check_heads, check_names, check_pairs, check_views


class Run(NamedTuple):
    """A config, resolved and checked. `hp`: every traced scalar; `shapes`, `placed`: TrainState of shapes, shardings."""

    config: Any
    mesh: Any
    tokenizer: Any
    sources: dict[str, Any]
    specs: dict[str, Any]
    measured: dict[str, Any]
    encode: Any
    reads: dict
    terms: dict
    total: int
    hp: dict
    shapes: TrainState
    placed: TrainState
    init: Any
    loss: Any
    step: Any
    frozen: set
    planned: dict
    names: list[str]
    program: str


def assemble(config: Any, workdir: Path | None = None, devices: list | None = None, facts: dict | None = None,
             shared: Shared | None = None) -> Run:
    """Resolve every name, duration and rule. Raises ValueError naming the config path of the first thing wrong.

    facts: what `mmrep.facts` has of an earlier start; no data are opened then, and `sources` is empty. shared: of `mmrep.shared`; sources
    of other data than this config's leave it.
    """
    cfg.check_keys(config)
    streams.check_streams(config.data)
    mesh = sharding.make_mesh(config.mesh.data, config.mesh.fsdp, config.mesh.tensor, devices)
    check_batches(config, mesh)
    check_names(config)
    forget(shared, "source", but=map(streams.opened_key, config.data.values()))
    sources = {} if facts else {n: streams.open_source(s, "train", f"config.data.{n}", shared) for n, s in config.data.items()}
    tokenizer = streams.open_tokenizer(config, sources, workdir and workdir / "tokenizer.json", shared)
    specs = facts["specs"] if facts else {
        n: pipeline.probe(sources[n], train_transform(config, n, tokenizer), config.seed, config.data[n].get("on_error"))
        for n in sources}
    measured = facts.get("measured", NOTHING) if facts else measure(config, sources, specs)
    built = towers(config, tokenizer.vocab_size, config.tokenizer.length, measured)
    inputs = scales(config, measured)
    encode = make_encode(built, inputs)
    reads = {m: reads_of(tower, m) for m, tower in built.items()}
    terms, nets = make_terms(config, tokenizer.vocab_size), make_nets(config)
    total, hp = hyperparameters(config, terms, facts["examples"] if facts else {n: len(s) for n, s in sources.items()})
    hp["inputs"] = jax.tree.map(np.asarray, traced_scales(config, measured))
    check_views(terms, reads, specs)
    check_augment(config, specs)
    check_heads(config, sources)
    check_pairs(terms, reads, sources)
    check_causal(terms, built)
    tx = optim.transform(config.optim.name, **cfg.plain(config.optim.kwargs))
    rules = {str(i): dict(r) for i, r in enumerate(cfg.plain(config.rules))}

    init_params = make_init(built, encode, nets, terms, inputs)
    example = {n: batch_like(spec, config.data[n].batch) for n, spec in specs.items()}
    shape_of, aux_of = jax.eval_shape(lambda: init_params(jax.random.key(0), _zeros(example), hp))
    planned = optim.plan(rules, tree.paths(shape_of))
    frozen = optim.frozen(rules, planned)
    ema_names = tuple(sorted(config.ema))

    def begin(seed: jax.Array, params: dict, aux: dict) -> TrainState:
        trained = tree.prune(params, lambda p: p not in frozen)
        ema = {n: jax.tree.map(jnp.copy, trained) for n in ema_names}
        return TrainState(jnp.zeros((), jnp.int32), params, tx.init(trained), ema, aux, jax.random.fold_in(jax.random.key(seed), 1))

    def init(seed: jax.Array, hp: dict) -> TrainState:
        return begin(seed, *init_params(jax.random.fold_in(jax.random.key(seed), 0), _zeros(example), hp))

    shapes = jax.eval_shape(begin, 0, shape_of, aux_of)  # without tracing all of `init` again
    placed = sharding.state_shardings(mesh, shapes, optim.wanted_specs(rules, planned), config.mesh.min_shard)
    loss = step.make_loss(encode, nets, terms, config.micro, lambda batch: complete(batch, reads))
    jax.eval_shape(loss, shapes.params, shapes.ema, shapes.aux, example, shapes.rng, shapes.step, hp)  # names what fails
    train_step = step.make_step(loss, tx, optim.SCHEDULES[config.optim.schedule], planned, frozen, ema_names,
                                config.optim.clip > 0)
    return Run(config, mesh, tokenizer, sources, specs, measured, encode, reads, terms, total, hp, shapes, placed, init, loss, train_step,
               frozen, planned, step.finite_names(shapes.params, frozen),
               program_key(config, hp, tokenizer.vocab_size, specs, measured))


def init_program(run: Run) -> Any:
    """init(seed i32[], hp) -> TrainState, compiled as one. It runs once: on CPU, optimizing it costs 3x what it takes."""
    options = {"xla_backend_optimization_level": "1"} if jax.default_backend() == "cpu" else None
    return jax.jit(run.init, out_shardings=run.placed, compiler_options=options)


def train_transform(config: Any, stream: str, tokenizer: Any, train: bool = True) -> Any:
    """The transform of a stream's examples."""
    return streams.stream_transform(config.data[stream], tokenizer, config.tokenizer.length, train,
                                    f"config.data.{stream}")


def batch_like(spec: dict, batch: int) -> dict[str, Any]:
    """Shapes of a global batch, from the pipeline's spec of a row."""
    like = {k: jax.ShapeDtypeStruct((batch, *shape), dtype) for k, (shape, dtype) in spec.items() if shape is not None}
    present = {k: jax.ShapeDtypeStruct((batch,), bool) for k in spec if is_field(k)}
    return like | {"present": present, "index": jax.ShapeDtypeStruct((batch,), jnp.int32),
                   "valid": jax.ShapeDtypeStruct((batch,), bool)}


def _zeros(like: Any) -> Any:
    return jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), like)


def describe(config: Any) -> dict[str, Any]:
    """What a run folder records besides its config: commit, versions, also of what decodes its data, devices."""
    import importlib.metadata
    import subprocess

    root = Path(__file__).resolve().parent.parent
    try:
        git = subprocess.run(["git", "describe", "--always", "--dirty", "--abbrev=12"], cwd=root, capture_output=True,
                             text=True, timeout=10).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        git = ""
    packages = ("mmrep", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy", "tensorflow-datasets", "pillow",
                "simplejpeg", "opencv-python-headless", "pydicom", "nibabel", "wfdb")
    versions = {}
    for name in packages:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {"config_hash": cfg.digest(config), "commit": git or "unknown", "versions": versions,
            "devices": device_kinds(), "device_count": jax.device_count(),
            "hosts": jax.process_count()}
