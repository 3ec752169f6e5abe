"""`mmrep data show`: a contact sheet of decoded training batches, as the model gets them, or of a source's rows as they lie on disk."""

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mmrep.data import panels, pipeline, streams, survey
from mmrep.data.reading import read_rows, transformed
from mmrep.data.rng import AUGMENT, philox
from mmrep.data.sources import BadRow, rows_of, spread
from mmrep.data.transforms import tokenize


def show(config: Any, out: Path, rows: int = 16, say: Callable[[str], None] = print) -> Path:
    """Draw the first rows of the first training batch of every stream: pictures, tokens decoded, labels; say what a user may not
    expect of them (`survey.surprises`)."""
    if out.suffix != ".png":
        raise ValueError(f"--out {out}: write to a .png file")
    streams.check_streams(config.data)
    sources = {n: streams.open_source(s, "train", f"config.data.{n}") for n, s in config.data.items()}
    tokenizer = streams.open_tokenizer(config, sources)
    cells, scales = [], survey.scales(config)
    for name, stream in config.data.items():
        transform = streams.stream_transform(stream, tokenizer, config.tokenizer.length, True, f"config.data.{name}")
        for line in survey.idle(name, stream, sources[name]):
            say(line)
        for line in survey.surprises(name, sources[name], transform, tokenizer, config.tokenizer.length, scales):
            say(line)
        batch = min(stream.batch, len(sources[name]))  # whether it is too large is not asked here
        with pipeline.train_batches(sources[name], batch, streams.stream_seed(config.seed, name), transform, steps=1,
                                    on_error=stream.get("on_error")) as batches:
            found = next(batches)
        for i in range(min(rows, len(found["index"]))):
            row = {k: v[i] for k, v in found.items() if k != "present"} | {"index": found["row"][i]}
            cells.append((f"{name} row", row, {k: v[i] for k, v in found["present"].items()}))
    names = {f"{name} row": _names(source) for name, source in sources.items()}
    return _sheet(cells, names, out, tokenizer)


def show_augmented(config: Any, out: Path, times: int, rows: int = 6) -> Path:
    """Draw rows of every stream, spread evenly over training, a line each: as it is prepared, then `times` augmentations of it, those of
    the run's first epochs. Raises ValueError where a row cannot be read or transformed."""
    if out.suffix != ".png":
        raise ValueError(f"--out {out}: write to a .png file")
    if times < 1:
        raise ValueError(f"--times {times}: how many augmentations of each row? At least 1")
    streams.check_streams(config.data)
    sources = {n: streams.open_source(s, "train", f"config.data.{n}") for n, s in config.data.items()}
    tokenizer = streams.open_tokenizer(config, sources)
    cells, length = [], config.tokenizer.length
    for name, stream in config.data.items():
        source, seed = sources[name], streams.stream_seed(config.seed, name)
        augment = streams.stream_transform(stream, tokenizer, length, True, f"config.data.{name}")
        for row in spread(len(source), rows).tolist():
            drawn = [transformed(source, row, dict(source[row]), change, philox(seed, AUGMENT, row, epoch))
                     for epoch, change in ((0, tokenize(tokenizer, length)), *((epoch, augment) for epoch in range(times)))]
            for number, example in enumerate(drawn):
                if isinstance(example, BadRow):
                    raise example
                title = f"{name} epoch {number - 1}, row" if number else f"{name} prepared, row"
                cells.append((title, _row(source, row, example), _here(source, example)))
    names = {title: _names(sources[title.split()[0]]) for title, *_ in cells}
    return _sheet(cells, names, out, tokenizer, times + 1)


def _names(source: Any) -> dict[str, Any]:
    """What a source's numbers are called: label/NAME -> its classes, tabular -> columns, category -> {column: values}."""
    return {f"label/{label}": classes for label, classes in getattr(source, "label_names", {}).items()} | {
        "tabular": getattr(source, "tabular_names", ()), "category": getattr(source, "category_names", {})}


def _here(source: Any, example: dict) -> dict:
    return dict.fromkeys(source.fields, False) | {k: example.get("present", {}).get(k, True) for k in example}


def _row(source: Any, row: int, example: dict) -> dict:
    """The example with its number in the file, which every message says."""
    number = int(rows_of(source, np.array([row]))[0])
    return dict.fromkeys(source.fields) | {k: v for k, v in example.items() if k != "present"} | {"index": number}


def show_rows(opened: dict[str, Any], out: Path, rows: int = 16) -> Path:
    """Draw rows of every split, spread evenly, as they lie on disk; opened: split -> source. Raises ValueError where none can be read."""
    if out.suffix != ".png":
        raise ValueError(f"--out {out}: write to a .png file")
    cells = []
    for split, source in opened.items():
        chosen = spread(len(source), max(rows // len(opened), 1))
        for row, example in zip(chosen.tolist(), read_rows(source, chosen)):
            if not isinstance(example, BadRow):
                cells.append((f"{split} row", _row(source, row, example), _here(source, example)))
    if not cells:
        raise ValueError("show: no row that was tried can be read")
    return _sheet(cells, {f"{split} row": _names(source) for split, source in opened.items()}, out)


def _sheet(cells: list[tuple[str, dict, dict]], names: dict[str, dict], out: Path, tokenizer: Any = None, columns: int = 0) -> Path:
    """One picture of (stream or split, row, present) a cell; names: the classes of each; columns: cells a line, else as many as fit."""
    from matplotlib.figure import Figure  # without pyplot, whose backend is the caller's

    most = max(len(panels.panels(row)) for _, row, _ in cells)
    columns = columns or min(4 if most == 1 else 3 if most == 2 else 2, len(cells))
    wide, high = 3.6 if most == 1 else 2.2 * most, 3.5 if most == 1 else 2.7  # inches a cell
    lines = -(-len(cells) // columns)
    fig = Figure(figsize=(wide * columns, high * lines), layout="constrained")
    axes = fig.subplots(lines, columns, squeeze=False)
    for ax in axes.flat:
        ax.axis("off")
    for ax, (name, row, present) in zip(axes.flat, cells):
        _cell(ax, name, row, present, tokenizer, names.get(name, {}), int(14.5 * wide))
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(out.stem + ".part.png")
    fig.savefig(part, dpi=80)
    part.replace(out)
    return out


def _cell(ax: Any, name: str, row: dict, present: dict, tokenizer: Any, names: dict[str, Any], width: int) -> None:
    panels.draw(ax, row, present, names)
    ax.set_title(textwrap.fill(f"{name} {row['index']}  {panels.labels(row, names)}", width, max_lines=3, placeholder=" ..."), fontsize=6.5,
                 loc="left")
    if "text" in row:
        text = "(no text)"
        if np.any(present["text"]):
            text = row["text"] if tokenizer is None else [tokenizer.decode(one) for one in np.atleast_2d(row["text"])]
            text = text if isinstance(text, str) else " | ".join(text)
        ax.text(0, -0.03, textwrap.fill(text, width, max_lines=6, placeholder=" ..."), fontsize=7, va="top", transform=ax.transAxes)
