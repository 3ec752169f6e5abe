"""Embed a source once: what every evaluator, the figure and `mmrep embed` read."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from mmrep.core import sharding
from mmrep.core.step import RANKS
from mmrep.core.types import Params, View
from mmrep.data import pipeline, streams

Features = dict[str, np.ndarray]


def embedder(encode: Callable, modalities: tuple[str, ...], mesh: Any) -> Callable[[Params, dict], dict]:
    """One compiled program: (params["encoders"], Batch) -> the batch's rows and, for each modality, its outputs."""

    def run(params: Params, batch: dict) -> dict:
        rows = {k: v for k, v in batch.items() if k in ("index", "group", "case", "valid") or k.startswith("label/")}
        rows |= {f"present/{m}": mark for m, mark in batch["present"].items()}
        for m in modalities:
            if m in batch and m in params:
                x = batch[m][:, 0] if batch[m].ndim == RANKS.get(m, batch[m].ndim) + 1 else batch[m]
                encoded = encode(params, View(m), x, None)
                rows |= {f"{m}/embedding": encoded.embedding, f"{m}/pooled": encoded.pooled.astype(np.float32)}
        return rows

    return jax.jit(run, out_shardings=sharding.replicated(mesh))


def embed(program: Callable, params: Params, source: Any, transform: Any, spec: dict, mesh: Any, batch: int = 256,
          limit: int = 0, keep_inputs: bool = False) -> Features:
    """Run a source's rows (the first `limit`, 0 = all) through the encoders.

    Returns {"index", "label/...", "present/image": bool[n], "image/embedding": f32[n, E], "image/pooled": f32[n, D],
    ...}, each example once, on every host alike. keep_inputs: also "image/input", flattened, for the raw controls.
    """
    shards = sharding.row_shards(mesh)
    batch = -(-min(batch, max(len(source), 1)) // shards) * shards
    if limit and limit < len(source):
        # spread over the source: files are often sorted by class or case
        source = streams.sources.subset(source, np.linspace(0, len(source) - 1, limit).astype(int))
    parts: list[dict] = []
    with pipeline.eval_batches(source, batch, transform, jax.process_index(), jax.process_count(),
                               spec=spec) as batches:
        for host_batch in batches:
            arrays = streams.without_text(host_batch)
            rows = jax.device_get(program(params, sharding.put_batch(mesh, arrays)))
            if keep_inputs and "image" in arrays and jax.process_count() == 1:
                rows["image/input"] = arrays["image"].reshape(len(arrays["image"]), -1)
            parts.append({k: v[rows["valid"]] for k, v in rows.items() if k != "valid"})
    if not parts or not sum(len(p["index"]) for p in parts):
        raise ValueError("no row of the split could be read: nothing to evaluate")
    return {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}


def text_encoder(encode: Callable, tokenizer: Any, length: int) -> Callable[[Params, list[str]], np.ndarray]:
    """(params["encoders"], texts) -> f32[n, E], for prompts."""
    program = jax.jit(lambda params, x: encode(params, View("text"), x, None).embedding)

    def run(params: Params, texts: list[str]) -> np.ndarray:
        tokens = np.zeros((-(-len(texts) // 64) * 64, length), np.int32)
        tokens[: len(texts)] = tokenizer.encode(list(texts), length)
        return np.concatenate([np.asarray(program(params, tokens[i:i + 64])) for i in range(0, len(tokens), 64)])[
            : len(texts)]

    return run
