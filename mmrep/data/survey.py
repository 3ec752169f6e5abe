"""What of a source a user may not expect, much of which only reading can show: bad rows, cut texts, the scale of pixels."""

from collections import Counter
from itertools import combinations
from typing import Any

import numpy as np

from mmrep import config as cfg
from mmrep.data.batches import Spec, misfit
from mmrep.data.example import Transform
from mmrep.data.reading import read_row, read_rows, transformed
from mmrep.data.rng import AUGMENT, philox
from mmrep.data.sources import BadRow, bad_row, identify, spread
from mmrep.data.streams import texts
from mmrep.data.transforms import changes

PARTS = ("prepare", "augment", "evaluate")
PICTURES = ("image", "volume")
BLOCK = 64


def surprises(name: str, source: Any, transform: Transform, tokenizer: Any, length: int, scales: dict[str, dict]
              ) -> list[str]:
    """A line for each thing that a user may not expect of a stream's rows: left out, cut, of an odd scale, and its own notes.

    name: of the stream; transform: of its training rows; length: of a text in tokens; scales: as `pixels`.
    """
    lines = []
    if getattr(source, "skipped", 0):
        _, why = next(iter(source.problems.values()))
        lines.append(f"config.data.{name}: left out {source.skipped} bad rows, e.g. {reason(why)}")
    lines += [f"config.data.{name}: {note}" for note in getattr(source, "notes", ())]
    found = some_texts(source)
    lines += [f"config.data.{name}: {line}" for line in one_text(found)]
    for label, values in getattr(source, "labels", {}).items():
        if values.dtype.kind == "i" and values.ndim == 1 and label in getattr(source, "label_names", {}):
            _, counts = np.unique(values[values >= 0], return_counts=True)
            if like_ids(counts):
                lines.append(f"config.data.{name}: label {label!r} has {len(counts):,} classes on {counts.sum():,} rows, most on one: "
                             "is it an id, or a text?")
    return [*lines, *odd_tokens(name, truncated(found, tokenizer, length), length), *odd_scale(name, pixels(source, transform, scales))]


def like_ids(counts: np.ndarray) -> bool:
    """Whether classes of so many rows each, i64[K], look like ids or texts: there are many, and most have one row."""
    return len(counts) > 12 and (counts == 1).sum() > len(counts) / 2


def idle(name: str, stream: Any, source: Any) -> list[str]:
    """A line for each transform of a stream that changes what no row has; the stream's config as written."""
    written = {part: [spec for spec in cfg.plain(stream.get(part) or ()) if isinstance(spec, dict)] for part in PARTS}
    fields = {*source.fields, *(spec["to"] for specs in written.values() for spec in specs if spec.get("to"))}
    return [f"config.data.{name}.{part}[{i}]: {spec['name']} changes {' or '.join(wanted)}, which no row has; it does nothing"
            for part, specs in written.items() for i, outer in enumerate(specs)
            for spec in (outer, *(one for one in outer.get("transforms", ()) if isinstance(one, dict)))
            if (wanted := changes(spec)) and not fields & {*wanted}]


def of_split(train: Any, source: Any, split: str) -> list[str]:
    """What of a split's rows a user may not expect, beside its training rows: its own notes, equal texts that nothing calls equal, classes
    that no training row has."""
    lines = [*getattr(source, "notes", ()), *equal_texts(source, split)]
    for label, values in getattr(source, "labels", {}).items():
        if values.dtype.kind == "i" and values.ndim == 1 and label in getattr(train, "labels", {}):
            names = getattr(source, "label_names", {}).get(label, ())
            new = [names[v] if v < len(names) else v for v in np.setdiff1d(values[values >= 0], train.labels[label])]
            if new and len(new) < 20:
                lines.append(f"label {label!r} of {split}: no training row has {', '.join(map(repr, new[:5]))}")
    return lines


def equal_texts(source: Any, split: str, most: int = 2000) -> list[str]:
    """A line where rows with a picture (or a signal, ...) share their text and no `group` says so: retrieval then asks for one's own."""
    fields = getattr(source, "fields", ())
    if "text" not in fields or len(fields) < 2 or not hasattr(source, "texts"):
        return []
    rows = spread(len(source), most)
    first = next((one for row in rows[:8].tolist() if not isinstance(one := read_row(source, row), BadRow)), None)
    if first is None or "group" in first:
        return []
    counts = Counter(" ".join(text.split()) if isinstance(text, str) else repr(text) for text in source.texts(rows) if text)
    equal = sum(n for n in counts.values() if n > 1)
    return [f"{equal:,} of {counts.total():,} texts of {split} are equal to another's, and no column is the `group`: retrieval asks for a "
            "row's own partner, whose ceiling is below the 1 it tells, and contrastive terms push equal texts apart; name one, columns="
            "{'group': the text's column, ...}"] if equal > 0.01 * counts.total() else []


def class_counts(source: Any, most: int = 8) -> list[str]:
    """A line for each label of one class a row: how many rows each class has, the rarest last."""
    lines = []
    for label, values in getattr(source, "labels", {}).items():
        if values.dtype.kind == "i" and values.ndim == 1:
            names = getattr(source, "label_names", {}).get(label, ())
            classes, counts = np.unique(values[values >= 0], return_counts=True)
            told = [f"{names[c] if c < len(names) else c!s} {n:,}" for n, c in sorted(zip(counts, classes), reverse=True)]
            cut = [*told[: most // 2], "...", *told[-most // 2:]] if len(told) > most else told
            lines.append(f"{label}: {len(told)} classes, {', '.join(cut)}")
    return lines


def repeated(sources: dict[str, Any]) -> list[str]:
    """Lines for pictures, by name, that rows of several splits share; sources: split -> source."""
    names = {split: {n for of in identify(s, np.arange(len(s))).get("images", ()) for n in of or ()} for split, s in sources.items()}
    lines = []
    for a, b in combinations(names, 2):
        if both := sorted(names[a] & names[b]):
            lines.append(f"{len(both):,} pictures are in {a} and in {b}, e.g. {both[0]}")
    return lines


def some_texts(source: Any, most: int = 2000) -> list[str]:
    """Texts of at most `most` rows, spread evenly; none of a source without texts."""
    return list(texts(source, most)) if "text" in source.fields else []


def one_text(found: list[str]) -> list[str]:
    """A line where all texts are the same one."""
    return [f"all {len(found):,} texts are the same, {found[0][:40]!r}"] if len(found) > 1 and len(set(found)) == 1 else []


def reason(problem: str) -> str:
    """A bad row's line without its advice, for where that has been taken already: to skip it."""
    return problem.partition(";")[0].partition(", or pass on_error")[0]


def unreadable(source: Any, most: int, transform: Transform | None = None, spec: Spec | None = None) -> tuple[int, list[BadRow]]:
    """How many rows were tried, spread evenly, and those that cannot be read, or after the transform are not of the spec's shapes."""
    rows, bad = spread(len(source), most), []
    for at in range(0, len(rows), BLOCK):
        block = rows[at:at + BLOCK]
        for row, one in zip(block.tolist(), read_rows(source, block)):
            if transform is not None and not isinstance(one, BadRow):
                one = transformed(source, row, dict(one), transform, philox(0, AUGMENT, row))
            if spec is not None and not isinstance(one, BadRow) and (why := misfit(one, spec)):
                one = bad_row(source, row, ValueError(why))
            bad += [one] if isinstance(one, BadRow) else []
    return len(rows), bad


def truncated(found: list[str], tokenizer: Any, length: int) -> tuple[float, float, int]:
    """Share of the tokens beyond `length`, share of the texts that lose some, and how many texts there are."""
    if not found:
        return 0.0, 0.0, 0
    lengths = tokenizer.lengths(found)
    return float(np.maximum(lengths - length, 0).sum() / lengths.sum()), float((lengths > length).mean()), len(lengths)


def odd_tokens(name: str, found: tuple[float, float, int], length: int) -> list[str]:
    """A line for texts of which much is cut; found: as `truncated` gives it."""
    lost, long, n = found
    if lost <= 0.05 and long <= 0.25:
        return []
    return [f"config.data.{name}: {long:.0%} of {n} texts are longer than config.tokenizer.length = {length}, and lose {lost:.0%} "
            "of all tokens"]


def pixels(source: Any, transform: Transform, scales: dict[str, dict], most: int = 32
           ) -> dict[str, tuple[float, float, float, float]]:
    """modality -> (mean, std in [0, 1]; mean, std as the encoder gets them) of some rows after the transform.

    scales: of the fields to look at, as the function `scales` gives them. Bad rows are left out, as are float pixels' first two (NaN).
    """
    found: dict[str, list] = {}
    for row in spread(len(source), most):  # one at a time: a volume may be large
        (example,) = read_rows(source, np.array([row]))
        if not isinstance(example, BadRow):
            example = transformed(source, int(row), dict(example), transform, philox(0, AUGMENT, int(row)))
        for m in scales if isinstance(example, dict) else ():
            if m in PICTURES and m in example:
                here = np.asarray(example.get("present", {}).get(m, True))
                shown = example[m][here] if here.ndim else example[m]  # absent samples are zeros, which no encoder learns from
                if shown.size and here.any():
                    found.setdefault(m, []).append(_moments(shown, scales[m]))
    out = {}
    for m, moments in found.items():
        mean, square, got_mean, got_square = np.mean(moments, 0)
        out[m] = tuple(float(v) for v in (mean, np.sqrt(max(square - mean**2, 0)) if square == square else square, got_mean,
                                          np.sqrt(max(got_square - got_mean**2, 0))))
    return out


def scales(config: Any) -> dict[str, dict]:
    """Field -> {"mean", "std"} of its pixels, for each field that an encoder is named after or names."""
    found, inputs = {}, cfg.plain(config.inputs)
    for name, spec in cfg.plain(config.encoders).items():
        field = spec.get("field") or name
        found[field] = inputs.get(name, inputs.get(field, {}))
    return found


def _moments(x: np.ndarray, scale: dict) -> tuple[float, float, float, float]:
    """Mean and mean square of at most about a million pixels, in [0, 1] (NaN of floats) and as `to_float` gives them."""
    x = x.reshape(-1, x.shape[-1])
    raw = x[:: max(len(x) // 2**20, 1)].astype(np.float64)
    if x.dtype.kind != "u":
        return np.nan, np.nan, raw.mean(), (raw**2).mean()
    unit = raw / np.iinfo(x.dtype).max
    got = (unit - np.asarray(scale.get("mean", 0.5))) / np.asarray(scale.get("std", 0.5))
    return unit.mean(), (unit**2).mean(), got.mean(), (got**2).mean()


def odd_scale(name: str, found: dict[str, tuple[float, float, float, float]]) -> list[str]:
    """A line for pixels far from mean 0 and standard deviation 1, from which an encoder learns slowly or not at all."""
    lines = []
    for m, (mean, std, got_mean, got_std) in found.items():
        if abs(got_mean) > 1 or not 0.25 <= got_std <= 4:
            whole = f"{{'name': 'normalize', 'key': '{m}', 'mean': {got_mean:.4g}, 'std': {got_std:.4g}}}"
            advice = "they are constant: look at `mmrep data show`" if 0 in (std, got_std) else \
                f"put {whole} last in config.data.{name}.prepare" if np.isnan(mean) else \
                f"set --config.inputs.{m}=\"{{'mean': {mean:.3g}, 'std': {std:.3g}}}\""
            if std < 0.05 and std > 0:  # scaling cannot bring back what augmentation clips, nor what 8 bits lose
                advice = "map the values in use to 8 bits, with {'name': 'to_uint8', 'window': (low, high)} first in prepare"
            lines.append(f"config.data.{name}: the encoder gets {m} pixels of mean {got_mean:.2f} and std {got_std:.2f}, and learns "
                         f"best from about 0 and 1: {advice}")
    return lines
