"""Run a config's evaluators on params."""

import inspect
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from mmrep import config as cfg
from mmrep.core import sharding
from mmrep.core.names import located, nearest
from mmrep.core.types import Batch, Encoded, Params, View
from mmrep.data import pipeline, streams
from mmrep.data.batches import META
from mmrep.data.example import is_field
from mmrep.data.reading import read_rows
from mmrep.data.sources import BadRow, arrays, recoded
from mmrep.evals import EVALS
from mmrep.evals.controls import CONTROLS
from mmrep.evals.features import Features, embed, embedder, encoder, pretend, read, text_encoder, text_program, together
from mmrep.evals.named import Found
from mmrep.evals.supervised import heads_of
from mmrep.metrics.intervals import Interval
from mmrep.run import Run, batch_like, train_transform
from mmrep.shared import Shared, remember

# What an evaluator is given besides its config; it takes those that its signature names:
#   split(name) -> Features, every row embedded; texts([str]) -> f32[n, E]; on: the split to judge; names, trained: class names
#   of these data and of the training data; heads: of supervised terms; and, for what embeddings do not hold (tokens, several
#   samples, masks, generated text): batches(split) -> Batches on the devices, encode(View, Batch) -> (Encoded, Batch), whole
#   numpy arrays on every host, params: of the run.
CONTEXT = ("split", "texts", "names", "trained", "heads", "on", "batches", "encode", "params")


def meta_spec(source: Any) -> dict:
    """Forms of a source's labels, groups and cases, from its first readable row. Raises BadRow where none of the first is."""
    tried = read_rows(source, np.arange(min(len(source), 64)))
    first = next((e for e in tried if isinstance(e, dict)), None)
    if first is None:
        raise BadRow(f"no row of {len(source)} is left that can be read" + (f": {tried[0]}" if tried else ""))
    meta = {k: [v] for k, v in first.items() if not is_field(k) and k not in META}
    return pipeline.probe(arrays(**meta)) if meta else {}


class Stream(NamedTuple):
    """A stream as evaluators read it: its config, whether that is the run's own, the transform without augmentation, and the
    forms and class names that were trained with."""

    data: Any
    own: bool
    transform: Any
    spec: dict
    names: dict


class Suite:
    """Sources opened and programs compiled once, for evaluation during and after training.

    An evaluator reads the main stream, or the one that its key `stream` names; then its metrics begin with the stream's name.
    data: a stream's config in place of the main one's own. facts: what the run's folder knows of its data (`mmrep.facts`).
    `skipped` counts the rows of each split that could not be read; `opened` holds the sources by (stream, split).
    """

    def __init__(self, run: Run, data: Any = None, facts: dict | None = None, shared: Shared | None = None):
        config = run.config
        self.run, self.skipped, self.shared = run, {}, {} if shared is None else shared
        self.stream = "main" if "main" in config.data else sorted(config.data)[0]
        self.modalities = tuple(sorted(config.encoders))
        program = self._program("embed", lambda: embedder(run.encode, run.reads, self.modalities, run.mesh))
        self.program = lambda params, batch: program(params, batch, run.hp["inputs"])
        self.texts = None
        if "text" in config.encoders:
            self.texts = text_encoder(self._program("texts", lambda: text_program(run.encode, run.mesh)), run.tokenizer,
                                      config.tokenizer.length)
        self.categories = (facts or {}).get("category_names", {})  # by whose numbers other data are read, too
        self.opened: dict[tuple[str, str], Any] = {}
        self.streams: dict[str, Stream] = {}
        for name, stream in config.data.items():
            transform = train_transform(config, name, run.tokenizer, train=False)
            if facts is None:
                source = run.sources[name]
                spec, names = (pipeline.probe(source, transform, config.seed, stream.get("on_error")),
                               getattr(source, "label_names", {}))
            else:
                spec, names = facts["eval"][name], facts["label_names"][name]
            own = data is None or name != self.stream
            self.streams[name] = Stream(stream if own else data, own, transform, spec, names)

    def _program(self, kind: Any, make: Callable) -> Callable:
        """A jitted function, shared with the other runs of the process that differ in traced values only."""
        return remember(self.shared, kind, self.run.program, make)

    def form(self, field: str) -> tuple[tuple[int, ...], np.dtype] | None:
        """Shape and dtype of a field of one row as it is evaluated, of the first stream that has it."""
        return next((one.spec[field] for one in self.streams.values() if field in one.spec), None)

    def source(self, split: str, stream: str = "") -> Any:
        """A split's source, opened once, when it is first asked for."""
        stream = stream or self.stream
        if (stream, split) not in self.opened:
            one = self.streams[stream]
            mine = split == "train" and one.own and self.run.sources.get(stream)
            found = mine or streams.open_source(one.data, split, f"config.data.{stream}", self.shared)
            self.opened[stream, split] = found if one.own else recoded(found, self.categories.get(stream, {}))
        return self.opened[stream, split]

    def spec(self, split: str, stream: str = "") -> dict:
        """Forms of a split's rows before augmentation: as training's, but other data have labels of their own."""
        one = self.streams[stream or self.stream]
        if one.own:
            return one.spec
        inputs = {k: v for k, v in one.spec.items() if is_field(k)}
        return meta_spec(self.source(split, stream)) | inputs

    def features(self, params: Params, limit: int = 0, keep_inputs: tuple[str, ...] = ()) -> Callable[..., Features]:
        """(split, stream="" for the main one) -> Features, embedded at first use. limit: rows of the training split (0 = all).
        keep_inputs: modalities whose raw inputs are kept, too."""
        kept: dict[tuple[str, str], Features] = {}

        def split(name: str, stream: str = "") -> Features:
            stream = stream or self.stream
            if (name, stream) not in kept:
                source, most, one = self.source(name, stream), limit if name == "train" else 0, self.streams[stream]
                found = embed(self.program, params["encoders"], source, one.transform, self.spec(name, stream), self.run.mesh,
                              self.run.config.eval.batch, most, keep_inputs, one.data.get("on_error"))
                unread = min(len(source), most or len(source)) - len(found["index"])
                key = name if stream == self.stream else f"{stream}/{name}"
                self.skipped[key] = int(getattr(source, "skipped", 0)) + unread
                kept[name, stream] = found
            return kept[name, stream]

        return split

    def evaluate(self, params: Params, on: str, features: Callable | None = None, only: Callable = lambda spec: True
                 ) -> dict[str, Found]:
        """Every evaluator of `config.evals` on split `on`: {name: Interval, or why there is none}. params: the run's.

        Raises BadRow for a row that cannot be read, where it is not to be skipped.
        """
        from threadpoolctl import threadpool_limits

        features = features or self.features(params, self.run.config.eval.limit)
        given = {"texts": (lambda t: self.texts(params["encoders"], t)) if self.texts else None, "heads": self._heads(params),
                 "encode": partial(self._encode, params["encoders"]), "params": params}
        out: dict[str, Found] = {}
        with threadpool_limits(1):  # small solves: BLAS threads cost more than they give, far more on shared cores
            for where, found in self._evaluators(features, self._batches, given, on, only):
                try:
                    out |= dict(found)
                except BadRow:  # no evaluator can do without the split's rows
                    raise
                except (ValueError, OSError) as error:  # the other evaluators' numbers must not be lost with it
                    out[where.removeprefix("config.")] = str(error)
        return out

    def entries(self) -> Iterator[tuple[str, dict, str]]:
        """(name, {name, **kwargs} without `stream`, its stream) of every evaluator. Raises ValueError for an unknown stream."""
        for name, spec in cfg.plain(self.run.config.evals).items():
            stream = spec.get("stream", self.stream) if isinstance(spec, dict) else self.stream
            if stream not in self.streams:
                raise ValueError(f"config.evals.{name}.stream: unknown stream {stream!r}; {nearest(stream, self.streams)}")
            yield name, {k: v for k, v in spec.items() if k != "stream"} if isinstance(spec, dict) else spec, stream

    def named(self, found: Iterator, stream: str) -> Iterator:
        return found if stream == self.stream else ((f"{stream}/{name}", value) for name, value in found)

    def _batches(self, split: str, stream: str) -> Iterator[Batch]:
        """Every row of a split once, on the devices, `valid` where it is no padding; their texts are not among them."""
        one, source = self.streams[stream], self.source(split, stream)
        with read(source, self.run.config.eval.batch, one.transform, self.spec(split, stream), self.run.mesh,
                  one.data.get("on_error")) as batches:
            for rows in together(batches):
                yield sharding.put_batch(self.run.mesh, streams.without_text(rows))

    def _encode(self, params: Params, view: View, batch: Batch) -> tuple[Encoded, Batch]:
        program = self._program(view, lambda: encoder(self.run.encode, self.run.reads, view, self.run.mesh))
        return jax.device_get(program(params, batch, self.run.hp["inputs"]))

    def _pretended(self, view: View, batch: Batch) -> tuple[Encoded, Batch]:
        """As `_encode`, of zeros, without compiling."""
        program = encoder(self.run.encode, self.run.reads, view, self.run.mesh)
        encoded, rows = jax.eval_shape(program, self.run.shapes.params["encoders"], batch, self.run.hp["inputs"])
        return _zeros(encoded), _zeros(rows)

    def _evaluators(self, features: Callable, batches: Callable, given: dict, on: str, only: Callable = lambda spec: True
                    ) -> Iterator[tuple[str, Iterator]]:
        for name, spec, stream in self.entries():
            if only(spec):
                context = given | {"split": partial(features, stream=stream), "batches": partial(batches, stream=stream), "on": on,
                           "trained": self.streams[stream].names, "names": getattr(self.source(on, stream), "label_names", {})}
                where = f"config.evals.{name}"
                yield where, self.named(cfg.build(EVALS, spec, where, **context), stream)

    def _heads(self, params: Params) -> dict:
        """The supervised heads, whole on every host."""
        if not any(spec.name == "supervised" for spec in self.run.config.objectives.values()):
            return {}
        whole = jax.jit(lambda x: x, out_shardings=sharding.replicated(self.run.mesh))(params["objectives"])
        return heads_of(self.run.config, {"objectives": jax.device_get(whole)})

    def names(self, on: str = "val") -> dict[str, str]:
        """{metric: config path of its evaluator}, whatever the data will say. Raises ValueError for an evaluator that asks
        for what is not there, and for a metric that two of them give."""
        out: dict[str, str] = {}
        heads = {k: h._replace(params={"kernel": np.zeros((4, h.params["kernel"].shape[1])),
                                       "bias": np.zeros(h.params["bias"].shape)})
                 for k, h in heads_of(self.run.config, self.run.shapes.params).items()}
        given = {"texts": (lambda t: np.ones((len(t), 4))) if self.texts else None, "heads": heads, "encode": self._pretended,
                 "params": self.run.shapes.params}
        rows = lambda _, stream: pretend(self.spec(on, stream), self.run.reads)  # noqa: E731
        empty = lambda _, stream: iter([_zeros(batch_like(self.spec(on, stream), 8))])  # noqa: E731
        for where, found in self._evaluators(rows, empty, given, on):
            with located(where):
                metrics = [name for name, _ in found]
            for name in metrics:
                if name in out:
                    raise ValueError(f"{where}: gives {name!r}, which {out[name]} gives already; let them differ in label, "
                                     "modality, feature or pair, or leave one out")
                out[name] = where
        return out

    def check(self, splits: tuple[str, ...] = ("val", "test")) -> None:
        """Raise ValueError, before anything is trained, for an evaluator, kwarg, label, control, split or metric that is
        not there."""
        config = self.run.config
        for name in config.eval.controls:
            if name not in CONTROLS:
                raise ValueError(f"config.eval.controls: unknown {name!r}; {nearest(name, CONTROLS)}")
        if not config.evals:
            return
        for name, evaluator, stream in self.entries():
            for split in splits:
                self.source(split, stream)
            spec, where = self.spec(splits[-1], stream), f"config.evals.{name}"
            kwargs = cfg.check(EVALS, evaluator, where, CONTEXT, ("stream",))
            default = inspect.signature(EVALS[kwargs["name"]]).parameters.get("label")
            label = kwargs.get("label", default.default if default else None)
            known = [k.removeprefix("label/") for k in spec if k.startswith("label/")]
            if isinstance(label, str) and label not in known:
                raise ValueError(f"{where}.label: the data has no label {label!r}; {nearest(label, known)}")
            with located(f"config.data.{stream}: rows without augmentation"):
                jax.eval_shape(self.program, self.run.shapes.params["encoders"],
                               batch_like(spec, sharding.row_shards(self.run.mesh)))
        names = self.names(splits[-1])
        metric = config.save.metric
        if metric and "val" in splits and metric not in (valid := [f"val/{n}" for n in names]):
            raise ValueError(f"config.save.metric: no evaluator gives {metric!r}; {nearest(metric, valid)}")


def _zeros(shapes: Any) -> Any:
    """Arrays of zeros, of which every row is valid."""
    zeros = jax.tree.map(lambda s: np.zeros(s.shape, s.dtype), shapes)
    return zeros | {"valid": np.ones(len(zeros["valid"]), bool)} if isinstance(zeros, dict) else zeros


def as_json(found: dict[str, Found]) -> dict[str, dict[str, float]]:
    """{name: {"value", "low", "high", "n"}} of what was found."""
    return {k: {"value": float(v.value), "low": float(v.low), "high": float(v.high), "n": int(v.n)}
            for k, v in sorted(found.items()) if isinstance(v, Interval)}


def reasons(found: dict[str, Found]) -> dict[str, str]:
    """{name: why there is no number}."""
    return {k: v for k, v in sorted(found.items()) if isinstance(v, str)}
