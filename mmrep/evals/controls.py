"""What stands beside every number: the same evaluators on untrained encoders, and probes of the raw inputs."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np

from mmrep import config as cfg
from mmrep.evals.features import Features
from mmrep.evals.named import Found
from mmrep.evals.probe import paired
from mmrep.run import init_program
from mmrep.shared import forget, remember

CONTROLS = ("untrained", "raw_pca")


def controls(suite: Any, on: str, wanted: tuple[str, ...], seed: int, features: Callable, init: Callable | None = None
             ) -> tuple[dict, dict]:
    """({control: {name: Found}}, {control: {probe name: paired difference}}).

    The suite's evaluators on untrained encoders, its probes on the principal components of the raw inputs (pixels, samples,
    values; text has none); and for each of these probes the difference of `features` (the trained ones) to the control, on the
    same resampled cases. init: the run's compiled init, where the caller has it.
    """
    if not wanted or not suite.run.config.evals:
        return {}, {}
    raw = tuple(sorted({modality_of(spec) for _, spec, _ in suite.entries() if reads_raw(suite, spec)})) if "raw_pca" in wanted else ()
    why = ""
    if raw and jax.process_count() > 1:
        raw, why = (), "raw inputs of several hosts are not gathered; run `mmrep evaluate` on one host"
    key = _key(suite, on, wanted, seed)
    forget(suite.shared, "controls", but=(key,))
    found, untrained, inputs = remember(suite.shared, "controls", key, lambda: _judged(suite, on, wanted, seed, raw, init))
    found, differences = dict(found), {}
    if why:
        found["raw_pca"] = differences["raw_pca"] = {"raw_pca": why}
    if "untrained" in wanted:
        differences["untrained"] = compared(suite, features, untrained, on)
    if raw:
        differences["raw_pca"] = compared(suite, features, inputs, on, partial(reads_raw, suite))
    return found, differences


def _key(suite: Any, on: str, wanted: tuple[str, ...], seed: int) -> str:
    """Names what the controls depend on: the config without what is of training alone, so that runs of one process that differ in
    learning rate, length, ... share them."""
    c = cfg.plain(suite.run.config)
    c = {k: v for k, v in c.items() if k not in ("optim", "total", "save", "log", "loader", "micro", "ema", "init", "stages", "rules")}
    return cfg.digest({"config": c, "program": suite.run.program, "on": on, "wanted": wanted, "seed": seed})


def _judged(suite: Any, on: str, wanted: tuple[str, ...], seed: int, raw: tuple[str, ...], init: Callable | None) -> tuple[dict, Any, Any]:
    """What the evaluators find of the controls, the untrained encoders' features, and the raw inputs' components as features."""
    params = (init or init_program(suite.run))(np.int32(seed), suite.run.hp).params
    untrained = suite.features(params, suite.run.config.eval.limit, keep_inputs=raw)
    found = {"untrained": suite.evaluate(params, on, untrained)} if "untrained" in wanted else {}
    inputs = pca(untrained, raw) if raw else None
    if raw:
        found["raw_pca"] = suite.evaluate(params, on, inputs, partial(reads_raw, suite))
    return found, untrained, inputs


def compared(suite: Any, ours: Callable, theirs: Callable, on: str, only: Callable[[dict], bool] = lambda spec: True
             ) -> dict[str, Found]:
    """Differences of the suite's probes, of two sets of features."""
    from threadpoolctl import threadpool_limits

    out: dict[str, Found] = {}
    for name, spec, stream in suite.entries():
        if modality_of(spec) and only(spec):
            mine, other = (partial(features, stream=stream) for features in (ours, theirs))
            with threadpool_limits(1):
                try:
                    kwargs = {k: v for k, v in spec.items() if k != "name"}
                    out |= dict(suite.named(paired(mine, other, on=on, **kwargs), stream))
                except (ValueError, OSError) as error:
                    out[f"evals.{name}"] = str(error)
    return out


def modality_of(spec: dict) -> str:
    """The modality that a probe reads; "" of another evaluator."""
    return spec.get("modality", "image") if spec["name"] == "probe" else ""


def reads_raw(suite: Any, spec: dict) -> bool:
    """Whether the raw inputs are a control of this evaluator: of a probe of what is not text."""
    modality = modality_of(spec)
    return modality not in ("", "text") and modality in suite.modalities and suite.form(modality) is not None


def pca(split: Callable[..., Features], modalities: tuple[str, ...], widths: tuple[int, ...] = (16, 64, 256)
        ) -> Callable[..., Features]:
    """Features whose outputs of `modalities` are the principal components of the raw inputs, fitted on the stream's train.

    How many of them a probe reads is one of `widths`, chosen on validation with its strength. They raise ValueError where
    fewer than two training rows hold the modality.
    """
    from sklearn.decomposition import PCA

    fitted: dict[tuple[str, str], Any] = {}

    def model(stream: str, m: str) -> Any:
        if (stream, m) not in fitted:
            train = split("train", stream)
            here, x = train[f"present/{m}"], train[f"{m}/input"]
            if here.sum() < 2:
                raise ValueError(f"fewer than two training rows hold {m!r}")
            n = min(max(widths), int(here.sum()) - 1, x.shape[1])
            fitted[stream, m] = PCA(n, svd_solver="randomized", random_state=0).fit(x[here].astype(np.float32))
        return fitted[stream, m]

    def of(name: str, stream: str = "") -> Features:
        data = split(name, stream)
        for m in (m for m in modalities if f"{m}/input" in data):
            n = model(stream, m).n_components_
            z = model(stream, m).transform(data[f"{m}/input"].astype(np.float32))
            data = data | {f"{m}/pooled": z, f"{m}/embedding": z, f"{m}/widths": sorted({min(w, n) for w in widths})}
        return data

    return of
