"""Run a config's evaluators on params, and on the controls that stand beside them."""

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from mmrep import config as cfg
from mmrep.core import sharding, tree
from mmrep.core.names import located, nearest
from mmrep.core.types import Params
from mmrep.data import pipeline, streams
from mmrep.data.batches import META, read_rows
from mmrep.evals import EVALS
from mmrep.evals.features import Features, embed, embedder, picked, pretend, text_encoder
from mmrep.evals.named import Found
from mmrep.evals.probe import paired
from mmrep.evals.supervised import heads_of
from mmrep.metrics.intervals import Interval
from mmrep.run import Run, batch_like, init_program, train_transform

CONTROLS = ("untrained", "raw_pca")
INPUTS = (*streams.sources.MODALITIES, "mask")
CONTEXT = ("split", "texts", "names", "trained", "heads", "on")  # what an evaluator is given besides its config


def averaged(params: Params, ema: dict) -> Params:
    """The params that are judged, loaded and embedded with: the EMA "eval", heads too, where the run keeps one."""
    return tree.overlay(params, ema["eval"]) if ema.get("eval") else params


def meta_spec(source: Any) -> dict:
    """Forms of a source's labels, groups and cases, from its first readable row."""
    first = next((e for e in read_rows(source, np.arange(min(len(source), 64))) if isinstance(e, dict)), {})
    meta = {k: [v] for k, v in first.items() if k.partition("/")[0] not in (*INPUTS, *META)}
    return pipeline.probe(streams.sources.arrays(**meta)) if meta else {}


class Suite:
    """Sources opened and programs compiled once, for evaluation during and after training.

    data: a stream's config in place of the run's own. facts: what the run's folder knows of its data (`mmrep.facts`).
    `skipped` counts the rows of each split that could not be read.
    """

    def __init__(self, run: Run, data: Any = None, facts: dict | None = None):
        config = run.config
        self.run, self.stream = run, "main" if "main" in config.data else sorted(config.data)[0]
        self.data = config.data[self.stream] if data is None else data
        self.own, self.skipped = data is None, {}
        self.modalities = tuple(sorted(config.encoders))
        self.program = embedder(run.encode, run.complete, self.modalities, run.mesh)
        self.texts = text_encoder(run.encode, run.tokenizer, config.tokenizer.length, run.mesh) if "text" in config.encoders else None
        self.transform = train_transform(config, self.stream, run.tokenizer, train=False)
        self._sources: dict[str, Any] = {}
        if facts is None:
            source = run.sources[self.stream]
            self.trained_spec = pipeline.probe(source, self.transform, config.seed, config.data[self.stream].get("on_error"))
            self.trained_names = getattr(source, "label_names", {})
        else:
            self.trained_spec, self.trained_names = facts["eval"], facts["label_names"]

    def source(self, split: str) -> Any:
        """A split's source, opened once, when it is first asked for."""
        if split not in self._sources:
            mine = split == "train" and self.own and self.run.sources.get(self.stream)
            self._sources[split] = mine or streams.open_source(self.data, split, f"config.data.{self.stream}")
        return self._sources[split]

    def spec(self, split: str) -> dict:
        """Forms of a split's rows before augmentation: as training's, but other data have labels of their own."""
        if self.own:
            return self.trained_spec
        inputs = {k: v for k, v in self.trained_spec.items() if k.partition("/")[0] in INPUTS}
        return meta_spec(self.source(split)) | inputs

    def features(self, params: Params, limit: int = 0, keep_inputs: bool = False) -> Callable[[str], Features]:
        """split -> Features, embedded at first use. limit: rows of the training split (0 = all)."""
        kept: dict[str, Features] = {}

        def split(name: str) -> Features:
            if name not in kept:
                source, most = self.source(name), limit if name == "train" else 0
                kept[name] = embed(self.program, params["encoders"], source, self.transform, self.spec(name), self.run.mesh,
                                   self.run.config.eval.batch, most, keep_inputs, self.data.get("on_error"))
                unread = len(picked(len(source), most)) - len(kept[name]["index"])
                self.skipped[name] = int(getattr(source, "skipped", 0)) + unread
            return kept[name]

        return split

    def evaluate(self, params: Params, on: str, features: Callable | None = None, only: Callable = lambda spec: True
                 ) -> dict[str, Found]:
        """Every evaluator of `config.evals` on split `on`: {name: Interval, or why there is none}. params: the run's."""
        from threadpoolctl import threadpool_limits

        features = features or self.features(params, self.run.config.eval.limit)
        texts = (lambda t: self.texts(params["encoders"], t)) if self.texts else None
        out: dict[str, Found] = {}
        with threadpool_limits(1):  # small solves: BLAS threads cost more than they give, far more on shared cores
            for where, found in self._evaluators(features, texts, self._heads(params), on, only):
                try:
                    out |= dict(found)
                except (ValueError, OSError) as error:  # the other evaluators' numbers must not be lost with it
                    out[where.removeprefix("config.")] = str(error)
        return out

    def _evaluators(self, features: Callable, texts: Callable | None, heads: dict, on: str, only: Callable = lambda spec: True
                    ) -> Iterator[tuple[str, Iterator]]:
        if not self.run.config.evals:
            return  # there may be no such split
        context = {"split": features, "texts": texts, "heads": heads, "on": on, "trained": self.trained_names,
                   "names": getattr(self.source(on), "label_names", {})}
        for name, spec in cfg.plain(self.run.config.evals).items():
            if only(spec):
                yield f"config.evals.{name}", cfg.build(EVALS, spec, f"config.evals.{name}", **context)

    def _heads(self, params: Params) -> dict:
        """The supervised heads, whole on every host."""
        if not any(spec.name == "supervised" for spec in self.run.config.objectives.values()):
            return {}
        whole = jax.jit(lambda x: x, out_shardings=sharding.replicated(self.run.mesh))(params["objectives"])
        return heads_of(self.run.config, {"objectives": jax.device_get(whole)})

    def names(self, on: str = "val") -> dict[str, str]:
        """{metric: config path of its evaluator}, whatever the data will say. Raises ValueError for an evaluator that asks
        for what is not there, and for a metric that two of them give."""
        spec, out = self.spec(on), {}
        rows = pretend(spec, self.modalities)
        heads = {k: h._replace(params={"kernel": np.zeros((4, h.params["kernel"].shape[1])),
                                       "bias": np.zeros(h.params["bias"].shape)})
                 for k, h in heads_of(self.run.config, self.run.shapes.params).items()}
        texts = (lambda t: np.ones((len(t), 4))) if self.texts else None
        for where, found in self._evaluators(lambda _: rows, texts, heads, on):
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
        for split in splits:
            self.source(split)
        spec = self.spec(splits[-1])
        for name, evaluator in config.evals.items():
            where = f"config.evals.{name}"
            kwargs = cfg.check(EVALS, evaluator, where, CONTEXT)
            default = inspect.signature(EVALS[kwargs["name"]]).parameters.get("label")
            label = kwargs.get("label", default.default if default else None)
            known = [k.removeprefix("label/") for k in spec if k.startswith("label/")]
            if isinstance(label, str) and label not in known:
                raise ValueError(f"{where}.label: the data has no label {label!r}; {nearest(label, known)}")
        with located(f"config.data.{self.stream}: rows without augmentation"):
            jax.eval_shape(self.program, self.run.shapes.params["encoders"], batch_like(spec, sharding.row_shards(self.run.mesh)))
        names = self.names(splits[-1])
        metric = config.save.metric
        if metric and "val" in splits and metric not in (valid := [f"val/{n}" for n in names]):
            raise ValueError(f"config.save.metric: no evaluator gives {metric!r}; {nearest(metric, valid)}")

    def controls(self, on: str, wanted: tuple[str, ...], seed: int, features: Callable, init: Callable | None = None
                 ) -> tuple[dict, dict]:
        """({control: {name: Found}}, {control: {probe name: paired difference}}).

        The same evaluators on untrained encoders, the probes of the image on raw pixels' principal components; and for each
        of these probes the difference of `features` (the trained ones) to the control, on the same resampled cases.
        init: the run's compiled init, where the caller has it.
        """
        if not wanted or not self.run.config.evals:
            return {}, {}
        params = (init or init_program(self.run))(np.int32(seed), self.run.hp).params
        raw, why = "raw_pca" in wanted and any(map(probes_image, cfg.plain(self.run.config.evals).values())), ""
        raw = raw and "image" in self.modalities
        if raw and jax.process_count() > 1:
            raw, why = False, "pixels of several hosts are not gathered; run `mmrep evaluate` on one host"
        untrained = self.features(params, self.run.config.eval.limit, keep_inputs=raw)
        found, differences = {}, {}
        if why:
            found["raw_pca"] = differences["raw_pca"] = {"raw_pca": why}
        if "untrained" in wanted:
            found["untrained"] = self.evaluate(params, on, untrained)
            differences["untrained"] = self.paired(features, untrained, on)
        if raw:
            try:
                pixels = pca(untrained)
            except (ValueError, OSError) as error:  # e.g. other data without a training split
                found["raw_pca"] = differences["raw_pca"] = {"raw_pca": str(error)}
            else:
                found["raw_pca"] = self.evaluate(params, on, pixels, probes_image)
                differences["raw_pca"] = self.paired(features, pixels, on)
        return found, differences

    def paired(self, ours: Callable, theirs: Callable, on: str) -> dict[str, Found]:
        """Differences of every probe of `config.evals` that reads the image."""
        from threadpoolctl import threadpool_limits

        out: dict[str, Found] = {}
        for name, spec in cfg.plain(self.run.config.evals).items():
            if probes_image(spec):
                with threadpool_limits(1):
                    try:
                        out |= dict(paired(ours, theirs, on=on, **{k: v for k, v in spec.items() if k != "name"}))
                    except (ValueError, OSError) as error:
                        out[f"evals.{name}"] = str(error)
        return out


def probes_image(spec: dict) -> bool:
    """Whether raw pixels are a control of this evaluator."""
    return spec["name"] == "probe" and spec.get("modality", "image") == "image"


def pca(split: Callable[[str], Features], widths: tuple[int, ...] = (16, 64, 256)) -> Callable[[str], Features]:
    """Features whose image outputs are the principal components of the raw pixels, fitted on train.

    How many of them a probe reads is one of `widths`, chosen on validation with its strength.
    """
    from sklearn.decomposition import PCA

    train = split("train")
    here = train["present/image"]
    if here.sum() < 2:
        raise ValueError("fewer than two training rows hold an image")
    n = min(max(widths), int(here.sum()) - 1, train["image/input"].shape[1])
    model = PCA(n, svd_solver="randomized", random_state=0).fit(train["image/input"][here].astype(np.float32))

    def of(name: str) -> Features:
        data = split(name)
        z = model.transform(data["image/input"].astype(np.float32))
        return data | {"image/pooled": z, "image/embedding": z, "image/widths": sorted({min(w, n) for w in widths})}

    return of


def as_json(found: dict[str, Found]) -> dict[str, dict[str, float]]:
    """{name: {"value", "low", "high", "n"}} of what was found."""
    return {k: {"value": float(v.value), "low": float(v.low), "high": float(v.high), "n": int(v.n)}
            for k, v in sorted(found.items()) if isinstance(v, Interval)}


def reasons(found: dict[str, Found]) -> dict[str, str]:
    """{name: why there is no number}."""
    return {k: v for k, v in sorted(found.items()) if isinstance(v, str)}
