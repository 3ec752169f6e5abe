"""Run a config's evaluators on params, and on the controls that stand beside them."""

import inspect
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from mmrep import config as cfg
from mmrep.core.names import nearest
from mmrep.core.types import Params
from mmrep.data import streams
from mmrep.evals import EVALS
from mmrep.evals.features import Features, embed, embedder, text_encoder
from mmrep.evals.probe import paired
from mmrep.metrics.intervals import Interval
from mmrep.run import Run, init_program, train_transform

CONTROLS = ("untrained", "raw_pca")


class Suite:
    """Sources opened and programs compiled once, for evaluation during and after training."""

    def __init__(self, run: Run, data: Any = None):
        config = run.config
        self.run, self.stream = run, "main" if "main" in config.data else sorted(config.data)[0]
        self.data = config.data[self.stream] if data is None else data
        self.modalities = tuple(sorted(config.encoders))
        self.program = embedder(run.encode, self.modalities, run.mesh)
        self.texts = text_encoder(run.encode, run.tokenizer, config.tokenizer.length) if "text" in config.encoders else None
        self.transform = train_transform(config, self.stream, run.tokenizer, train=False)
        self._sources: dict[str, Any] = {}

    def source(self, split: str) -> Any:
        """A split's source, opened once."""
        if split not in self._sources:
            own = split == "train" and self.data is self.run.config.data.get(self.stream)
            self._sources[split] = self.run.sources[self.stream] if own else streams.open_source(
                self.data, split, f"config.data.{self.stream}")
        return self._sources[split]

    def features(self, params: Params, limit: int = 0, keep_inputs: bool = False) -> Callable[[str], Features]:
        """split -> Features, embedded at first use. limit: rows of the training split (0 = all)."""
        kept: dict[str, Features] = {}

        def split(name: str) -> Features:
            if name not in kept:
                kept[name] = embed(self.program, params, self.source(name), self.transform,
                                   self.run.specs[self.stream], self.run.mesh, self.run.config.eval.batch,
                                   limit if name == "train" else 0, keep_inputs)
            return kept[name]

        return split

    def evaluate(self, params: Params, on: str, features: Callable | None = None, only: str = "") -> dict[str, Interval]:
        """Every evaluator of `config.evals` on split `on`: {name: Interval}. params: params["encoders"]."""
        from threadpoolctl import threadpool_limits

        features = features or self.features(params, self.run.config.eval.limit)
        texts = (lambda t: self.texts(params, t)) if self.texts else None
        names = getattr(self.source("train"), "label_names", {})
        out: dict[str, Interval] = {}
        for name, spec in self.run.config.evals.items():
            spec = cfg.plain(spec)
            if only and spec["name"] != only:
                continue
            found = cfg.build(EVALS, spec, f"config.evals.{name}", split=features, texts=texts, names=names, on=on)
            with threadpool_limits(1):  # small solves: BLAS threads cost more than they give, far more on shared cores
                out |= dict(found)
        return out

    def check(self) -> None:
        """Raise ValueError, before anything is trained, for an evaluator, kwarg, label, control or split that is not
        there."""
        config = self.run.config
        for name, spec in config.evals.items():
            where = f"config.evals.{name}"
            kwargs = cfg.check(EVALS, spec, where, ("split", "texts", "names", "on"))
            default = inspect.signature(EVALS[kwargs["name"]]).parameters.get("label")
            label = kwargs.get("label", default.default if default else None)
            labels = [k.removeprefix("label/") for k in self.run.specs[self.stream] if k.startswith("label/")]
            if isinstance(label, str) and label not in labels:
                raise ValueError(f"{where}.label: the data has no label {label!r}; {nearest(label, labels)}")
        for name in config.eval.controls:
            if name not in CONTROLS:
                raise ValueError(f"config.eval.controls: unknown {name!r}; {nearest(name, CONTROLS)}")
        for split in ("val", "test") if config.evals else ():
            self.source(split)

    def controls(self, on: str, wanted: tuple[str, ...], seed: int, features: Callable, init: Callable | None = None
                 ) -> tuple[dict, dict]:
        """({control: {name: Interval}}, {control: {probe name: paired difference}}).

        The same evaluators on untrained encoders, the probes on raw pixels' principal components; and for each probe the
        difference of `features` (the trained ones) to the control, on the same resampled cases.
        init: the run's compiled init, where the caller has it.
        """
        if not wanted or not self.run.config.evals:
            return {}, {}
        params = (init or init_program(self.run))(np.int32(seed), self.run.hp).params["encoders"]
        raw = "raw_pca" in wanted and "image" in self.modalities and jax.process_count() == 1
        untrained = self.features(params, self.run.config.eval.limit, keep_inputs=raw)
        found, differences = {}, {}
        if "untrained" in wanted:
            found["untrained"] = self.evaluate(params, on, untrained)
            differences["untrained"] = self.paired(features, untrained, on)
        if raw:
            pixels = pca(untrained)
            found["raw_pca"] = self.evaluate(params, on, pixels, only="probe")
            differences["raw_pca"] = self.paired(features, pixels, on)
        return found, differences

    def paired(self, ours: Callable, theirs: Callable, on: str) -> dict[str, Interval]:
        """Differences of every probe of `config.evals` that reads the image."""
        from threadpoolctl import threadpool_limits

        out: dict[str, Interval] = {}
        for spec in cfg.plain(self.run.config.evals).values():
            if spec["name"] == "probe" and spec.get("modality", "image") == "image":
                with threadpool_limits(1):
                    out |= dict(paired(ours, theirs, on=on, **{k: v for k, v in spec.items() if k != "name"}))
        return out


def pca(split: Callable[[str], Features], widths: tuple[int, ...] = (16, 64, 256)) -> Callable[[str], Features]:
    """Features whose image outputs are the principal components of the raw pixels, fitted on train.

    How many of them a probe reads is one of `widths`, chosen on validation with its strength.
    """
    from sklearn.decomposition import PCA

    train = split("train")
    here = train["present/image"]
    n = min(max(widths), int(here.sum()) - 1, train["image/input"].shape[1])
    model = PCA(n, svd_solver="randomized", random_state=0).fit(train["image/input"][here].astype(np.float32))

    def of(name: str) -> Features:
        data = split(name)
        z = model.transform(data["image/input"].astype(np.float32))
        return data | {"image/pooled": z, "image/embedding": z, "image/widths": sorted({min(w, n) for w in widths})}

    return of


def as_json(found: dict[str, Interval]) -> dict[str, dict[str, float]]:
    """{name: {"value", "low", "high", "n"}}."""
    return {k: {"value": float(v.value), "low": float(v.low), "high": float(v.high), "n": int(v.n)}
            for k, v in sorted(found.items())}
