"""From the config's `data` to sources, tokenizer and batches: one stream is one source (or mixture) and its transforms.

`pipeline.train_batches` and `eval_batches` take the stream's `on_error`; their iterators count what it masked
(`skipped`), and the source what was left out when it was opened (`skipped`, too).
"""

import os
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from mmrep import config as cfg
from mmrep.core.names import located, nearest
from mmrep.data import pipeline, sources, tokenizers
from mmrep.data.cache import cached
from mmrep.data.embeddings import embeddings
from mmrep.data.example import Transform
from mmrep.data.manifest import manifest
from mmrep.data.mixture import Mixture, mixture
from mmrep.data.phantom import phantom
from mmrep.data.reading import read_rows
from mmrep.data.records import records
from mmrep.data.tfds import tfds
from mmrep.data.transforms import compose, tokenize
from mmrep.shared import Shared, remember

SOURCES = {"phantom": phantom, "manifest": manifest, "tfds": tfds, "records": records, "embeddings": embeddings}
STREAM_KEYS = ("source", "sources", "temperature", "batch", "prepare", "augment", "evaluate", "cache_mib", "on_error", "fraction")
SPLITS = ("train", "val", "test")


def check_streams(data: Any) -> None:
    """Raise ValueError for a stream with an unknown or a missing key."""
    if not data:
        raise ValueError("config.data: is empty; give e.g. {'main': {'source': {'name': 'phantom'}, 'batch': 128}}")
    for name, stream in cfg.plain(data).items():
        for key in stream:
            if key not in STREAM_KEYS:
                raise ValueError(f"config.data.{name}.{key}: unknown key; {nearest(key, STREAM_KEYS)}")
        if ("source" in stream) == ("sources" in stream) or "batch" not in stream:
            raise ValueError(f"config.data.{name}: needs batch and one of source, sources")
        if "sources" in stream and not isinstance(stream["sources"], dict):
            raise ValueError(f"config.data.{name}.sources: needs a dict of names, {{'a': {{'name': 'manifest', 'weight': 2.0, ...}}, "
                             f"'b': ...}}; got {stream['sources']!r}")
        if "temperature" in stream and "source" in stream:
            raise ValueError(f"config.data.{name}.temperature: mixes `sources`; one source has nothing to be mixed with")
        _share(stream, f"config.data.{name}")
        if stream.get("on_error") not in (None, "raise", "skip"):
            raise ValueError(f"config.data.{name}.on_error: {stream['on_error']!r}; valid: raise, skip, None (what the "
                             "source says)")


def _share(stream: dict, where: str) -> float:
    """The stream's fraction of the training rows, or ValueError."""
    share = stream.get("fraction", 1.0)
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share <= 1:
        raise ValueError(f"{where}.fraction: {share!r} is not in (0, 1]; write 10 % as 0.1")
    return float(share)


def check_sizes(config: Any, sources: dict) -> None:
    """Raise ValueError for a training batch larger than its source, or than a mixture's parts."""
    for name, stream in config.data.items():
        with located(f"config.data.{name}.batch"):
            pipeline.source_plan(sources[name], stream.batch, config.seed)


def transform_of(stream: Any, key: str, where: str) -> Transform | None:
    """One transform from the stream's tuple of {name, **kwargs} under `key` (prepare, augment or evaluate); None for an empty one.

    Those of `augment` that draw from the training rows open them themselves.
    """
    specs = stream.get(key) or ()
    training = (lambda: open_source(stream, "train", where)) if key == "augment" else None
    return compose(specs, f"{where}.{key}", training) if specs else None


def open_source(stream: Any, split: str, where: str = "config.data.main", shared: Shared | None = None) -> Any:
    """A stream's source (or mixture) of a split, prepared and cached in memory. Raises ValueError or FileNotFoundError.

    The stream's `on_error` is that of its sources, too, unless they name their own. shared: of `mmrep.shared`, where it may lie opened.
    """
    return remember(shared, "source", (opened_key(stream), where, split), lambda: _open_source(cfg.plain(stream), split, where))


def opened_key(stream: Any) -> str:
    """Names what its opened source depends on: of a stream's config, and of the files that it names their sizes and times."""
    config = {k: v for k, v in cfg.plain(stream).items() if k not in ("batch", "augment", "evaluate")}
    stats = {}

    def look(node: Any) -> None:
        if isinstance(node, (dict, tuple)):
            for one in node.values() if isinstance(node, dict) else node:
                look(one)
        elif isinstance(node, str) and os.path.exists(node):
            found = os.stat(node)
            stats[node] = (found.st_mtime_ns, found.st_size)

    look(config)
    return cfg.digest({"config": config, "files": stats})


def _open_source(stream: dict, split: str, where: str) -> Any:
    given = {"on_error": stream["on_error"]} if stream.get("on_error") else {}
    share = _share(stream, where)
    prepare = transform_of(stream, "prepare", where)

    def one(spec: dict, path: str) -> Any:
        spec = {k: v for k, v in spec.items() if k != "weight"}
        if "split" in spec:
            raise ValueError(f"{path}.split: {spec['split']!r} would be train, val and test alike; rename splits with "
                             f"{path}.splits, e.g. {{'val': 'dev'}}")
        source = cfg.build(SOURCES, {"split": split} | spec, path, **given)
        if split == "train" and share < 1:
            source = sources.fraction(source, share)
        limit = stream.get("cache_mib", 0) * 2**20
        if limit or prepare:
            source = cached(source, limit, prepare)
        return source

    if "source" in stream:
        return one(stream["source"], f"{where}.source")
    built = {n: one(s, f"{where}.sources.{n}") for n, s in stream["sources"].items()}
    weights = {n: float(s["weight"]) for n, s in stream["sources"].items() if "weight" in s}
    with located(f"{where}.sources" if stream.get("temperature") is None else where):
        return mixture(built, weights or None, stream.get("temperature"))


def texts(source: Any, limit: int = 8192) -> Iterable[str]:
    """Texts of `limit` rows of a source, without decoding pictures where it can give them alone.

    The rows are spread evenly, since files are often sorted, and over a mixture's components by weight.
    """
    if isinstance(source, Mixture):
        total = sum(source.weights.values())
        for name, part in zip(source.names, source.components):
            if "text" in part.fields:
                yield from texts(part, max(round(limit * source.weights[name] / total), 1))
        return
    rows = sources.spread(len(source), limit)
    for part in np.array_split(rows, -(-len(rows) // 1024)):
        if hasattr(source, "texts"):
            found = source.texts(part)
        else:
            found = [None if isinstance(one, sources.BadRow) else one.get("text") for one in read_rows(source, part)]
        for text in found:
            yield from [text] if isinstance(text, str) else text or ()


def open_tokenizer(config: Any, train: dict[str, Any], saved: Path | None = None, shared: Shared | None = None) -> tokenizers.Tokenizer:
    """The config's tokenizer: bytes, a file, or one trained on the training texts (kept at `saved` for a resume).

    shared: of `mmrep.shared`, where it may lie trained on the same texts.
    """
    spec = {k: v for k, v in cfg.plain(config.tokenizer).items() if k != "length"}
    if spec["name"] == "byte" or spec["name"].endswith(".json"):
        for key in spec.keys() - {"name"}:
            raise ValueError(f"config.tokenizer.{key}: {spec['name']} takes no {key!r}; {nearest(key, ('name', 'length'))}")
        return tokenizers.load(spec["name"])
    if spec["name"] not in tokenizers.TRAINERS:
        raise ValueError(f"config.tokenizer.name: unknown {spec['name']!r}; {nearest(spec['name'], ('byte', *tokenizers.TRAINERS))}, "
                         "or a saved FILE.json")
    if saved is not None and saved.is_file():
        return tokenizers.load(saved)

    def corpus() -> Iterable[str]:
        for source in train.values():
            if "text" in source.fields:
                yield from texts(source)

    key = cfg.digest({"tokenizer": spec, "data": {n: opened_key(s) for n, s in config.data.items()}})
    trained = remember(shared, "tokenizer", key, lambda: cfg.build(tokenizers.TRAINERS, spec, "config.tokenizer", texts=corpus()))
    if saved is not None:
        part = saved.with_suffix(".part")
        tokenizers.save(trained, part)
        part.rename(saved)
    return trained


def stream_transform(stream: Any, tokenizer: tokenizers.Tokenizer, length: int, train: bool, where: str) -> Transform:
    """What every read example goes through: augmentation in training, or what `evaluate` has in its place, and tokens.

    Tokens are made for many rows at a time.
    """
    tokens = tokenize(tokenizer=tokenizer, length=length)
    augment = transform_of(stream, "augment" if train else "evaluate", where)
    transform = compose([augment, tokens]) if augment else tokens
    transform.parts = (augment, tokens)
    return transform


def stream_seed(seed: int, stream: str) -> int:
    """The seed of a stream's order and augmentation: the run's for "main", another for each other name, so that two streams
    over one source do not read the same rows at the same step."""
    return seed if stream == "main" else seed + (zlib.crc32(stream.encode()) << 32)


def without_text(batch: dict) -> dict[str, np.ndarray]:
    """The arrays of a batch, to be put on devices."""
    return {k: v for k, v in batch.items() if not isinstance(v, list)}
