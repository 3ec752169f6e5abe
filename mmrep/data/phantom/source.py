"""A random-access source of synthetic subjects: the phantom as the pipeline and the evaluators see it."""

from collections.abc import Mapping, Sequence

import numpy as np

from mmrep.data.phantom import image as image_module
from mmrep.data.phantom.image import render_image
from mmrep.data.phantom.latents import CONTENT, PREVALENCE, Latents, latents
from mmrep.data.phantom.philox import bits, choice, uniform
from mmrep.data.phantom.tabular import tabular
from mmrep.data.phantom.text import report, semantics

MODALITIES = ("image", "text", "tabular")
SPLITS = {"train": 0, "val": 1 << 28, "test": 1 << 29}  # first subject id of each; ranges cannot meet
SIZES = {"train": 65_536, "val": 512, "test": 512}
_STRANGER = 1 << 30  # ids from here on are in no split: whose reports `pair_noise` puts in
LABELS = ("class", "findings", "severity", "severity_bin", "laterality", "zone")


class Phantom:
    """Rows of one split. `len(source)`, `source[i]`, `source.block(rows)`; build it with `phantom`."""

    def __init__(self, split: str, seed: int, n: int, size: int, n_mentioned: int, pair_noise: float,
                 duplicates: float, missing: Mapping[str, float], levels: dict[str, float], modalities: tuple[str, ...], factors: dict):
        self.split, self.seed, self.fields = split, seed, modalities
        self._size, self._n_mentioned, self._pair_noise, self._missing = size, n_mentioned, pair_noise, missing
        self._levels, self._factors = levels, factors
        self.index = np.arange(n, dtype=np.int32) + SPLITS[split]
        self._model = _models(seed, self.index, SPLITS[split], duplicates)
        self._group: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.index)

    @property
    def group(self) -> np.ndarray:
        """Report semantics of every row, i32[len]: what `ceiling` takes; drawn once."""
        if self._group is None:
            parts = np.array_split(self.index, 1 + len(self) // 4096)
            parts = [semantics(self._reported(part), self._n_mentioned) for part in parts]
            self._group = np.concatenate(parts)
        return self._group

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
        return block

    def _reported(self, ids: np.ndarray, block: Latents | None = None) -> Latents:
        """Latents that the reports speak of: with pair noise, some are a stranger's."""
        block = self._content(ids) if block is None else block
        if not self._pair_noise:
            return block
        wrong = np.flatnonzero(uniform(bits(self.seed, ids, {"source/pair": 1})["source/pair"])[:, 0] < self._pair_noise)
        stranger = latents(self.seed, ids[wrong].astype(np.int64) + _STRANGER, **self._factors)
        block = {name: values.copy() for name, values in block.items()}
        for name, values in stranger.items():
            block[name][wrong] = values
        return block

    def _present(self, ids: np.ndarray) -> dict[str, np.ndarray]:
        if not self._missing:
            return {name: np.ones(len(ids), bool) for name in self.fields}
        raw = bits(self.seed, ids, {f"missing/{name}": 1 for name in MODALITIES} | {"missing/kept": 1})
        there = np.stack([uniform(raw[f"missing/{name}"])[:, 0] >= self._missing.get(name, 0.0) for name in self.fields], -1)
        kept = choice(raw["missing/kept"][:, 0], len(self.fields))
        nothing = ~there.any(1)
        there[nothing, kept[nothing]] = True
        return dict(zip(self.fields, there.T))

    def block(self, rows: Sequence[int] | np.ndarray) -> dict:
        """Rows i[B] (0..len-1, any order) -> one dictionary of stacked arrays.

        image u8[B,S,S,1], text: list of B str, tabular f32[B,10], category i32[B,6] (those of `fields`), index, group, case
        i32[B], label/class, label/severity_bin, label/laterality, label/zone i32[B], label/findings u8[B,6], label/severity
        f32[B], and present {modality: bool[B]}; an absent modality is zeros or "". Raises IndexError for rows out of range.
        """
        rows = np.asarray(rows, np.int64)
        if rows.size and (rows.min() < 0 or rows.max() >= len(self)):
            raise IndexError(f"phantom {self.split}: rows {rows.min()}..{rows.max()} asked for, but it has {len(self)}")
        ids = self.index[rows]
        block, present = self._content(ids), self._present(ids)
        reported, out = self._reported(ids, block), {}
        if "image" in self.fields:
            out["image"] = render_image(block, self._size, **self._levels) * present["image"][:, None, None, None]
        if "text" in self.fields:
            said = report(reported, self._n_mentioned)
            out["text"] = [text if here else "" for text, here in zip(said, present["text"])]
        if "tabular" in self.fields:
            values, categories = tabular(block)
            here = present["tabular"][:, None]
            out["tabular"], out["category"] = np.where(here, values, np.float32(0)), np.where(here, categories, np.int32(0))
        out |= {"index": ids, "case": rows.astype(np.int32), "group": semantics(reported, self._n_mentioned)}
        return out | {f"label/{name}": block[name] for name in LABELS} | {"present": present}

    def texts(self, rows: Sequence[int] | np.ndarray | None = None) -> list[str | None]:
        """Reports of some rows (all by default), None where absent, without rendering an image."""
        ids = self.index if rows is None else self.index[np.asarray(rows, np.int64)]
        said = report(self._reported(ids), self._n_mentioned)
        return [text if here else None for text, here in zip(said, self._present(ids).get("text", np.zeros(len(ids), bool)))]

    def __getitem__(self, row: int) -> dict:
        """One subject: as `block` without the leading axis; the keys of an absent modality are missing."""
        batch = self.block([int(row)])
        gone = {name for name, here in batch.pop("present").items() if not here[0]}
        gone |= {"category"} if "tabular" in gone else set()
        return {name: values[0] for name, values in batch.items() if name not in gone}


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


def phantom(split: str = "train", seed: int = 0, n: int | None = None, size: int = 32, n_mentioned: int = 6,
            pair_noise: float = 0.0, duplicates: float = 0.0, missing: Mapping[str, float] | None = None,
            contrast: float = image_module.CONTRAST, clutter: float = image_module.CLUTTER_LEVEL,
            nuisance: float = image_module.NUISANCE, modalities: Sequence[str] = MODALITIES,
            prevalence: Sequence[float] | None = None, correlation: float = 0.3) -> Phantom:
    """Synthetic subjects of one split as a random-access source; row i is a pure function of (seed, split, i, knobs).

    n: rows (default 65,536 train, 512 val, 512 test); size: image side; n_mentioned: attributes a report names besides the
    class, 0..6; pair_noise: share of subjects with the report of a subject of no split; duplicates: share of subjects with
    the content and the very report of an earlier one; missing: {modality: rate} completely at random, at least one modality
    kept; contrast, clutter, nuisance: multiples of the calibrated image levels; prevalence (default `PREVALENCE`), correlation:
    of the findings, see `latents`.
    Raises ValueError, naming the knob, for anything out of range.
    """
    missing, modalities = dict(missing or {}), tuple(modalities)
    if split not in SPLITS:
        raise ValueError(f"phantom split must be one of {tuple(SPLITS)}, got {split!r}")
    n = SIZES[split] if n is None else n
    if not 0 < n <= 1 << 28:
        raise ValueError(f"phantom n must be 1..2^28, got {n}")
    if not modalities or set(modalities) - set(MODALITIES) or set(missing) - set(modalities):
        raise ValueError(f"phantom modalities {modalities} and missing {tuple(missing)} must be among {MODALITIES}")
    for name, rate in {"pair_noise": pair_noise, "duplicates": duplicates, **missing}.items():
        if not 0 <= rate <= 1:
            raise ValueError(f"phantom {name} must be a rate in 0..1, got {rate}")
    if not 16 <= size <= 1024:
        raise ValueError(f"phantom size must be 16..1024 pixels, got {size}")
    if not 0 <= n_mentioned <= 6:
        raise ValueError(f"phantom n_mentioned must be 0..6, got {n_mentioned}")
    levels = {"contrast": contrast, "clutter": clutter, "nuisance": nuisance}
    return Phantom(split, seed, n, size, n_mentioned, pair_noise, duplicates, missing, levels, modalities,
                   {"prevalence": tuple(PREVALENCE if prevalence is None else prevalence), "correlation": correlation})
