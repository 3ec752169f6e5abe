"""A random-access source of synthetic subjects: the phantom as the pipeline and the evaluators see it."""

import functools
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmrep.core.names import nearest
from mmrep.data.phantom import scene
from mmrep.data.phantom.attributes import attributes as attribute_lists
from mmrep.data.phantom.factors import MODALITIES
from mmrep.data.phantom.identify import identifiable
from mmrep.data.phantom.image import render_image
from mmrep.data.phantom.information import mix
from mmrep.data.phantom.latents import CONTENT, PREVALENCE, SPLITS, Latents, latents, outcome, restyled
from mmrep.data.phantom.missing import check_missing, presence
from mmrep.data.phantom.omics import omics
from mmrep.data.phantom.philox import bits, choice, uniform
from mmrep.data.phantom.signal import render_signal
from mmrep.data.phantom.tabular import tabular
from mmrep.data.phantom.text import report, semantics
from mmrep.data.phantom.volume import render_volume, volume_mask

PLAIN = ("image", "text", "tabular")
SIZES = {"train": 65_536, "val": 512, "test": 512}
SCALES = {
    "tiny": {"image": 32, "volume": 16, "samples": 128, "leads": 3, "rate": 50.0, "columns": 16, "genes": 64,
             "n": {"train": 2048, "val": 512, "test": 512}},
    "small": {"image": 64, "volume": 24, "samples": 250, "leads": 12, "rate": 100.0, "columns": 24, "genes": 256,
              "n": {"train": 10_240, "val": 2048, "test": 2048}},
    "paper": {"image": 224, "volume": 96, "samples": 1000, "leads": 12, "rate": 100.0, "columns": 64, "genes": 2000,
              "n": {"train": 102_400, "val": 10_240, "test": 10_240}},
}
_STRANGER = 1 << 30  # ids from here on are in no split: whose reports `pair_noise` puts in
LABELS = ("class", "findings", "severity", "severity_bin", "laterality", "zone")
MORE_LABELS = ("organ", "texture", "depth", "rhythm", "history", "synergy", "marker_a", "marker_b", "marker_c", "age", "sex", "bmi",
               "smoking", "genotype", "hospital", "time", "event", "risk")


class Phantom:
    """Rows of one split. `len(source)`, `source[i]`, `source.block(rows)`; build it with `phantom`, which explains the options."""

    def __init__(self, split: str, seed: int, ids: np.ndarray, fields: tuple[str, ...], sizes: Mapping[str, Any], options: dict[str, Any],
                 factors: dict[str, Any]):
        self.split, self.seed, self.fields, self.index = split, seed, fields, ids
        self._sizes, self._options, self._factors = sizes, options, factors
        self._model = _models(seed, np.arange(SPLITS[split], ids[-1] + 1), SPLITS[split], options["duplicates"])
        self._group: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.index)

    @property
    def group(self) -> np.ndarray:
        """Report semantics of every row, i32[len]: what `ceiling` takes; drawn once."""
        if self._group is None:
            parts = np.array_split(self.index, 1 + len(self) // 4096)
            parts = [semantics(self._reported(part), self._options["n_mentioned"], self._options["whole"]) for part in parts]
            self._group = np.concatenate(parts)
        return self._group

    @functools.cached_property
    def notes(self) -> list[str]:
        """How many of the rows (the first 8,192) lack a modality, where some are to."""
        if not self._options["missing"] and not self._options["unpaired"]:
            return []
        first = self.index[:8192]
        here = self._present(self._content(first))
        what = f"{len(first):,} {self.split} rows" if len(first) == len(self) else f"the first {len(first):,} {self.split} rows"
        return [f"phantom: {(~mark).sum():,} of {what} have no {field}" for field, mark in here.items() if not mark.all()]

    def latents(self, rows: Sequence[int] | np.ndarray | None = None) -> Latents:
        """Ground truth of the given rows (all by default), after duplication."""
        return self._content(self.index if rows is None else self.index[np.asarray(rows)])

    def _content(self, ids: np.ndarray) -> Latents:
        block = latents(self.seed, ids, **self._factors)
        model = self._model[ids - SPLITS[self.split]]
        copies = np.flatnonzero(model != ids)
        if len(copies):  # a duplicate has another subject's content and words, but its own image and table
            other = latents(self.seed, model[copies], **self._factors)
            for name in block:
                if name in CONTENT or name == "history" or name.startswith("text/"):
                    block[name][copies] = other[name]
            # what hangs on that content: the shortcut, where the own vendor told the own finding, the styles and the outcome
            tied = self._factors.get("spurious", 0.0)
            if tied:
                own = uniform(bits(self.seed, ids[copies], {"spurious": 1})["spurious"])[:, 0] < abs(tied)
                finding = block["findings"][copies, 0].astype(np.int32)
                block["image/vendor"][copies] = np.where(own, 2 * (finding if tied > 0 else 1 - finding), block["image/vendor"][copies])
            if self._factors.get("causal"):
                for name, values in restyled(self.seed, ids[copies], model[copies], **self._factors).items():
                    block[name][copies] = values
            block |= outcome(block, uniform(bits(self.seed, ids, {"outcome": 2})["outcome"]))
        if self._options["shifted"] and self.split == "test":
            block["image/vendor"] = np.full(len(ids), 3, np.int32)  # a scanner that no training subject was seen by
        return block

    def _reported(self, ids: np.ndarray, block: Latents | None = None) -> Latents:
        """Latents that the reports speak of: with pair noise, some are a stranger's."""
        block = self._content(ids) if block is None else block
        noise = self._options["pair_noise"]
        if not noise:
            return block
        wrong = np.flatnonzero(uniform(bits(self.seed, ids, {"source/pair": 1})["source/pair"])[:, 0] < noise)
        stranger = latents(self.seed, ids[wrong].astype(np.int64) + _STRANGER, **self._factors)
        block = {name: values.copy() for name, values in block.items()}
        for name, values in stranger.items():
            block[name][wrong] = values
        return block

    def _present(self, block: Latents) -> dict[str, np.ndarray]:
        return presence(block, self.fields, self._options["missing"], self._options["unpaired"])

    def block(self, rows: Sequence[int] | np.ndarray) -> dict:
        """Rows i[B] (0..len-1, any order) -> one dictionary of stacked arrays.

        image u8[B,S,S,1], volume u8[B,V,V,V,1], signal f32[B,T,leads] (millivolt), text: list of B str, tabular f32[B,F], category
        i32[B,6], features f32[B,G] (those of `fields`), mask/image, mask/volume u8 where asked for; index, group, case
        i32[B]; label/class, label/severity_bin, label/laterality, label/zone i32[B], label/findings u8[B,6], label/severity
        f32[B], with more of them, and label/boxes f32[B,7,4], where the source is `whole`; and present {modality: bool[B]}; an absent
        modality is zeros or "". Raises IndexError for rows out of range.
        """
        rows = np.asarray(rows, np.int64)
        if rows.size and (rows.min() < 0 or rows.max() >= len(self)):
            raise IndexError(f"phantom {self.split}: rows {rows.min()}..{rows.max()} asked for, but it has {len(self)}")
        ids, options = self.index[rows], self._options
        block = self._content(ids)
        present, reported = self._present(block), self._reported(ids, block)
        out = self._rendered(block, reported, present)
        out |= {"index": ids, "case": ids.astype(np.int32), "group": semantics(reported, options["n_mentioned"], options["whole"])}
        out |= {f"label/{name}": block[name] for name in (*LABELS, *MORE_LABELS) if options["whole"] or name in LABELS}
        if options["whole"]:
            out |= {"label/boxes": scene.boxes(block), "label/cardiomegaly": block["findings"][:, 3], "label/vendor": block["image/vendor"],
                    "label/mix": mix(block)}
        if options["label_noise"]:
            raw = bits(self.seed, ids, {"source/label": 2})["source/label"]
            wrong = uniform(raw[:, 0]) < options["label_noise"]
            out["label/class"] = np.where(wrong, (block["class"] + 1 + choice(raw[:, 1], 9)) % 10, block["class"]).astype(np.int32)
        return out | {"present": present}

    def _rendered(self, block: Latents, reported: Latents, present: dict[str, np.ndarray]) -> dict:
        sizes, options, out = self._sizes, self._options, {}

        def kept(values: np.ndarray, name: str) -> np.ndarray:
            return values * present[name].reshape(-1, *[1] * (values.ndim - 1)).astype(values.dtype)

        if "image" in self.fields:
            image = render_image(block, sizes["image"], **options["levels"], whole=options["whole"])
            out["image"] = kept(image, "image")
            if options["masks"]:
                out["mask/image"] = kept(scene.mask(block, sizes["image"]), "image")
        if "volume" in self.fields:
            levels = {name: options["levels"][name] for name in ("contrast", "nuisance")}
            out["volume"] = kept(render_volume(block, sizes["volume"], **levels), "volume")
            if options["masks"]:
                out["mask/volume"] = kept(volume_mask(block, sizes["volume"]), "volume")
        if "signal" in self.fields:
            record = render_signal(block, sizes["samples"], sizes["leads"], sizes["rate"], options["levels"]["nuisance"])
            out["signal"] = kept(record, "signal")
        if "text" in self.fields:
            said = report(reported, options["n_mentioned"], whole=options["whole"])
            out["text"] = [text if here else "" for text, here in zip(said, present["text"])]
        if "tabular" in self.fields:
            values, categories = tabular(block, sizes["columns"])
            out["tabular"], out["category"] = kept(values, "tabular"), kept(categories, "tabular")
        if "features" in self.fields:
            out["features"] = kept(omics(block, sizes["genes"]), "features")
        return out

    def texts(self, rows: Sequence[int] | np.ndarray | None = None) -> list[str | None]:
        """Reports of some rows (all by default), None where absent, without rendering an image."""
        ids = self.index if rows is None else self.index[np.asarray(rows, np.int64)]
        block = self._content(ids)
        said = report(self._reported(ids, block), self._options["n_mentioned"], whole=self._options["whole"])
        return [text if here else None for text, here in zip(said, self._present(block).get("text", np.zeros(len(ids), bool)))]

    def __getitem__(self, row: int) -> dict:
        """One subject: as `block` without the leading axis; the keys of an absent modality are missing."""
        batch = self.block([int(row)])
        gone = {name for name, here in batch.pop("present").items() if not here[0]}
        gone |= {"category"} if "tabular" in gone else set()
        return {name: values[0] for name, values in batch.items() if name.removeprefix("mask/") not in gone}


def _models(seed: int, index: np.ndarray, start: int, rate: float) -> np.ndarray:
    """Whose content each subject has: i64[N], itself or, at the given rate, an earlier subject of the split."""
    own = index.astype(np.int64)
    if not rate or not len(own):
        return own
    raw = bits(seed, own, {"source/duplicate": 2})["source/duplicate"]
    copies = (uniform(raw[:, 0]) < rate) & (own > start)
    earlier = np.floor(uniform(raw[:, 1]) * (own - start)).astype(np.int64)  # 0 .. own position - 1
    model = np.where(copies, earlier, own - start)
    while (model[model] != model).any():  # a copy of a copy has the first one's content
        model = model[model]
    return model + start


def _kept_ids(split: str, seed: int, n: int, holdout: Sequence[Sequence[int]], unseen: bool, factors: dict) -> np.ndarray:
    """i32[n]: the first n subjects of a split, or those of them whose (finding, laterality, severity_bin) is, or is not, held out."""
    start = SPLITS[split]
    if not holdout:
        return np.arange(start, start + n, dtype=np.int32)
    found, at = [], start
    while sum(map(len, found)) < n:
        ids = np.arange(at, at + 4096)
        block = latents(seed, ids, **factors)
        held = np.zeros(len(ids), bool)
        for finding, laterality, severity in holdout:
            held |= (block["findings"][:, finding] > 0) & (block["laterality"] == laterality) & (block["severity_bin"] == severity)
        found.append(ids[held == (unseen and split == "test")])
        at += len(ids)
        if at - start > 1 << 22:
            raise ValueError(f"phantom holdout: fewer than {n} of 2^22 subjects are left in {split}; hold out "
                             f"{'more' if unseen and split == 'test' else 'fewer'} combinations, or lower n")
    return np.concatenate(found)[:n].astype(np.int32)


def phantom(split: str = "train", seed: int = 0, n: int | Mapping[str, int] | None = None, size: int | None = None, n_mentioned: int = 6,
            pair_noise: float | Mapping[str, float] = 0.0, duplicates: float = 0.0, missing: Mapping[str, Any] | None = None,
            contrast: float = scene.CONTRAST, clutter: float = scene.CLUTTER_LEVEL, nuisance: float = scene.NUISANCE,
            modalities: Sequence[str] = PLAIN, prevalence: Sequence[float] | None = None, correlation: float = 0.3,
            scale: str | None = None, whole: bool | None = None, masks: bool = False, unpaired: Mapping[str, float] | None = None,
            label_noise: float = 0.0, causal: float = 0.0, change: float = 1.0, synergy: str = "bijection", match: float = 0.5,
            spurious: float = 0.0, shifted: bool = False, balanced: bool = False, dependent: bool = False,
            holdout: Sequence[Sequence[int]] = (), unseen: bool = True, mode: str = "render",
            latent: Mapping[str, Any] | None = None, attributes: Mapping[str, Any] | None = None) -> Any:
    """Synthetic subjects of one split as a random-access source; row i is a pure function of (seed, split, i, knobs).

    n: rows, or {split: rows} (default 65,536 train, 512 val, 512 test, or the scale's); modalities: some of image, volume, signal, text,
    tabular (with category), features (omics); scale: tiny, small or paper (None: sizes of tiny); size: image side in its place; whole:
    image and report also show organ, texture and markers, and all labels are given (default: where a scale or another modality than
    image, text and tabular is asked for); masks: of lesion and findings beside image and volume.
    n_mentioned: attributes a report names besides the class, 0..6; pair_noise: share of subjects with the report of a subject of no
    split, or {split: share}, 0 of those not named; duplicates: share of subjects with the content and the very report of an earlier one;
    label_noise: share with a wrong class label; missing, unpaired: see `missing.check_missing`, at least one modality is kept.
    contrast, clutter, nuisance: multiples of the calibrated levels; prevalence (default `PREVALENCE`), correlation, causal, change,
    synergy, match, balanced, dependent: see `latents`. spurious: share of subjects whose vendor tells the first finding, the other way
    round in the test split; shifted: test images come from a scanner of its own, vendor 3. holdout: combinations (finding, laterality,
    severity_bin) that train and val lack, and test consists of (or lacks, too: unseen=False).
    mode: "render", or "latent" for vectors x_m = f_m(content, style, private) of `identify.identifiable`, whose options `latent` holds,
    and which takes no other knob but seed and n; or "attributes", in the same way, for the lists of `attributes.attributes`.
    Raises ValueError, naming the knob, for anything out of range.
    """
    given = {name: value for name, value in locals().items() if name not in ("split", "seed", "n", "mode", "latent", "attributes")}
    missing, unpaired = missing or {}, unpaired or {}
    modalities = (modalities,) if isinstance(modalities, str) else tuple(modalities)
    if split not in SPLITS:
        raise ValueError(f"phantom split must be one of {tuple(SPLITS)}, got {split!r}")
    if scale is not None and scale not in SCALES:
        raise ValueError(f"phantom scale must be one of {tuple(SCALES)}, got {scale!r}")
    if isinstance(n, Mapping) and set(n) - set(SPLITS):
        raise ValueError(f"phantom n: no split {sorted(set(n) - set(SPLITS))[0]!r}; name some of {', '.join(SPLITS)}")
    if isinstance(pair_noise, Mapping):
        if wrong := set(pair_noise) - set(SPLITS):
            raise ValueError(f"phantom pair_noise: no split {sorted(wrong)[0]}; name some of {', '.join(SPLITS)}")
        pair_noise = pair_noise.get(split, 0.0)
    for name, value in (("seed", seed), ("size", size), ("n_mentioned", n_mentioned), *(
            (f"n of {k}", v) for k, v in (n.items() if isinstance(n, Mapping) else [("a split", n)]))):
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, np.integer))):
            raise ValueError(f"phantom {name} must be a whole number, got {value!r}")
    if not 0 <= seed < 1 << 64:
        raise ValueError(f"phantom seed must be 0..2^64 - 1, got {seed}")
    usual = (SCALES[scale]["n"] if scale else SIZES)[split]
    n = n.get(split, usual) if isinstance(n, Mapping) else usual if n is None else n
    if not 0 < n <= 1 << 28:
        raise ValueError(f"phantom n must be 1..2^28, got {n}")
    vectors = {"latent": (identifiable, latent or {}), "attributes": (attribute_lists, attributes or {})}
    if mode != "render" and mode not in vectors:
        raise ValueError(f"phantom mode must be render, latent or attributes, got {mode!r}")
    if mode in vectors:
        usual = inspect.signature(phantom).parameters
        if changed := [name for name, value in given.items() if value != usual[name].default]:
            raise ValueError(f"phantom {changed[0]}: is of mode='render'; mode={mode!r} takes seed, n and what `{mode}` holds")
        make, options = vectors[mode]
        known = [name for name in inspect.signature(make).parameters if name not in ("split", "seed", "n")]
        if not isinstance(options, Mapping) or set(options) - set(known):
            raise ValueError(f"phantom {mode}: {options!r}: give {{name: value}} of {', '.join(known)}")
        return make(split, seed, n, **options)
    if not modalities or set(modalities) - set(MODALITIES):
        bad = next((m for m in modalities if m not in MODALITIES), "")
        raise ValueError(f"phantom modalities {modalities} must be among {MODALITIES}" + (f"; {nearest(bad, MODALITIES)}" if bad else ""))
    for name, rate in {"pair_noise": pair_noise, "duplicates": duplicates, "label_noise": label_noise}.items():
        if not 0 <= rate <= 1:
            raise ValueError(f"phantom {name} must be a rate in 0..1, got {rate}")
    if not all(0 <= level < np.inf for level in (contrast, clutter, nuisance)):
        raise ValueError(f"phantom contrast, clutter and nuisance must be finite and >= 0, got {contrast}, {clutter} and {nuisance}")
    sizes = SCALES[scale or "tiny"] | ({} if size is None else {"image": size})
    if not 16 <= sizes["image"] <= 1024:
        raise ValueError(f"phantom size must be 16..1024 pixels, got {size}")
    if not 0 <= n_mentioned <= 6:
        raise ValueError(f"phantom n_mentioned must be 0..6, got {n_mentioned}")
    whole = bool(scale or set(modalities) - set(PLAIN)) if whole is None else whole
    factors = {"prevalence": tuple(PREVALENCE if prevalence is None else prevalence), "correlation": correlation, "causal": causal,
               "change": change, "synergy": synergy, "match": match, "spurious": -spurious if split == "test" else spurious,
               "balanced": balanced, "dependent": dependent}
    for combination in holdout:
        if len(combination) != 3 or not all(0 <= int(v) < top for v, top in zip(combination, (6, 2, 3))):
            raise ValueError(f"phantom holdout: {combination!r} is no (finding 0..5, laterality 0..1, severity_bin 0..2)")
    options = {"n_mentioned": n_mentioned, "pair_noise": pair_noise, "duplicates": duplicates, "label_noise": label_noise,
               "missing": check_missing(missing, unpaired, modalities), "unpaired": unpaired, "whole": whole, "masks": masks,
               "shifted": shifted, "levels": {"contrast": contrast, "clutter": clutter, "nuisance": nuisance}}
    if holdout and duplicates:
        raise ValueError("phantom holdout: cannot be combined with duplicates, whose content may be that of a subject left out")
    latents(seed, [0], **factors)  # raises for a knob out of range
    ids = _kept_ids(split, seed, n, holdout, unseen, factors)
    return Phantom(split, seed, ids, modalities, sizes, options, factors)
