"""Embed a source once: what every evaluator, the figure and `mmrep embed` read."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from mmrep import hosts
from mmrep.core import sharding
from mmrep.core.types import Batch, Params, View
from mmrep.data import pipeline, streams
from mmrep.data.sources import BadRow, spread, subset
from mmrep.encoders.inputs import Fields, complete

Features = dict[str, np.ndarray]


def embedder(encode: Callable, reads: dict[str, Fields], modalities: tuple[str, ...], mesh: Any) -> Callable[..., dict]:
    """One compiled program: (params["encoders"], Batch, hp["inputs"]) -> the batch's rows and, for each modality, its outputs.

    reads: modality -> the fields that its encoder reads.
    """

    def run(params: Params, batch: dict, measured: dict) -> dict:
        batch = complete(batch, reads)
        rows = {k: v for k, v in batch.items() if k in ("index", "group", "case", "valid") or k.startswith("label/")}
        # of several samples the first is embedded
        rows |= {f"present/{m}": mark[:, 0] if mark.ndim == 2 else mark for m, mark in batch["present"].items()}
        for m in modalities:
            if m in params and all(key in batch for key in reads[m]):
                encoded = encode(params, View(m), batch, None, measured)
                rows |= {f"{m}/embedding": encoded.embedding, f"{m}/pooled": encoded.pooled.astype(np.float32)}
        return rows

    return jax.jit(run, out_shardings=sharding.replicated(mesh))


def embed(program: Callable, params: Params, source: Any, transform: Any, spec: dict, mesh: Any, batch: int = 256,
          limit: int = 0, keep_inputs: tuple[str, ...] = (), on_error: str | None = None) -> Features:
    """Run a source's rows (`limit` of them, spread evenly; 0 = all) through the encoders.

    Returns {"index": i32[n], rows of the source, "label/...", "present/image": bool[n], "image/embedding": f32[n, E],
    "image/pooled": f32[n, D], ...}, each example once, on every host alike; a row that cannot be read is left out, where
    `on_error` or the source asks for it. keep_inputs: of these modalities
    also "MODALITY/input", flattened, for the raw controls (on a single host).
    """
    kept = spread(len(source), limit or len(source))
    if len(kept) < len(source):
        source = subset(source, kept)
    parts: list[dict] = []
    with read(source, batch, transform, spec, mesh, on_error) as batches:
        for host_batch in together(batches):
            arrays = streams.without_text(host_batch)
            rows = jax.device_get(program(params, sharding.put_batch(mesh, arrays)))
            if jax.process_count() == 1:
                rows |= {f"{m}/input": arrays[m].reshape(len(arrays[m]), -1) for m in keep_inputs if m in arrays}
            parts.append({k: v[rows["valid"]] for k, v in rows.items() if k != "valid"})
    if not parts or not sum(len(p["index"]) for p in parts):
        why = next(iter(batches.bad.values()), "")
        raise BadRow("no row of the split could be read: nothing to evaluate" + (f"; e.g. {why}" if why else ""))
    found = {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}
    return found | {"index": kept[found["index"]].astype(np.int32)}


def read(source: Any, batch: int, transform: Any, spec: dict, mesh: Any, on_error: str | None = None) -> pipeline.Batches:
    """This host's batches of one pass over a source, of about `batch` rows over all hosts, as the mesh divides them."""
    shards = sharding.row_shards(mesh)
    batch = -(-min(batch, max(len(source), 1)) // shards) * shards
    return pipeline.eval_batches(source, batch, transform, jax.process_index(), jax.process_count(), on_error=on_error, spec=spec,
                                 late=jax.process_count() > 1)


def together(batches: pipeline.Batches) -> Iterator[Batch]:
    """The batches of `read`. A row that cannot be read ends it with BadRow: on several hosts, whose programs wait for each other,
    on all of them after the last batch."""
    yield from batches
    refused = hosts.total({"refused": int(batches.refused is not None)})["refused"]
    if batches.refused is not None:
        raise batches.refused
    if refused:
        raise BadRow("another host could not read a row of the split; its own output says which")


def encoder(encode: Callable, reads: dict[str, Fields], view: View, mesh: Any) -> Callable[..., tuple]:
    """(params["encoders"], Batch, hp["inputs"]) -> (Encoded of the view, the batch), whole on every host."""

    def run(params: Params, batch: dict, measured: dict) -> tuple:
        batch = complete(batch, reads)
        return encode(params, view, batch, None, measured), batch

    return jax.jit(run, out_shardings=sharding.replicated(mesh))


def pretend(spec: dict, reads: dict[str, Fields], n: int = 8) -> Features:
    """Features of n rows that have the names and forms of a spec's, all of class 0: what an evaluator says of them are the
    names of its metrics. reads: encoder -> the fields that it reads."""
    index, rng = np.arange(n, dtype=np.int32), np.random.Generator(np.random.Philox(0))
    rows = {"index": index, "case": index}
    rows |= {k: np.zeros((n, *shape), dtype) for k, (shape, dtype) in spec.items() if k.startswith("label/")}
    for m, fields in reads.items():
        if all(key in spec for key in fields):
            rows |= {f"present/{m}": np.ones(n, bool)}
            rows |= {f"{m}/{k}": rng.normal(size=(n, 4)).astype(np.float32) for k in ("embedding", "pooled")}
    return rows


def text_program(encode: Callable, mesh: Any) -> Callable:
    """(params["encoders"], tokens i32[n, L]) -> f32[n, E] on every host; params may be split over them."""
    return jax.jit(lambda params, x: encode(params, View("text"), {"text": x}, None).embedding,
                   out_shardings=sharding.replicated(mesh))


def text_encoder(program: Callable, tokenizer: Any, length: int) -> Callable[[Params, list[str]], np.ndarray]:
    """(params["encoders"], texts) -> f32[n, E] on every host, for prompts; program: `text_program`."""

    def run(params: Params, texts: list[str]) -> np.ndarray:
        tokens = np.zeros((-(-len(texts) // 64) * 64, length), np.int32)
        tokens[: len(texts)] = tokenizer.encode(list(texts), length)
        return np.concatenate([np.asarray(program(params, tokens[i:i + 64])) for i in range(0, len(tokens), 64)])[
            : len(texts)]

    return run
