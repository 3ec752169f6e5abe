"""What each `mmrep data` command does with its arguments: open, call one function, print."""

import json
import re
import sys
import textwrap
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mmrep.data.audit import describe, overlap, report, scan, split, validate
from mmrep.data.audit.source import open_splits, plain, stream_of
from mmrep.data.example import MODALITIES

Say = Callable[[str], None]


def run(args: Namespace, overrides: Sequence[str], say: Say) -> int:
    """One command; returns the exit code. Raises ValueError or OSError for bad input."""
    actions = {"describe": _describe, "validate": _validate, "split": _split, "prepare": _prepare, "show": _show, "overlap": _overlap,
               "build": _build}
    try:
        return actions[args.action](args, overrides, say)
    except (ValueError, FileNotFoundError) as error:
        if plain(error) == str(error):
            raise
        raise type(error)(plain(error)) from None


def _stream(args: Namespace, overrides: Sequence[str], say: Say, source: str = "source", end: str = "") -> dict[str, Any]:
    pairs = dict(pair.partition("=")[::2] for pair in getattr(args, f"data{end}"))
    return stream_of(getattr(args, source), getattr(args, f"columns{end}"), pairs, overrides, say)


def _describe(args: Namespace, overrides: Sequence[str], say: Say) -> int:
    opened, lost = open_splits(_stream(args, overrides, say))
    found = describe.describe(opened, lost)
    print(json.dumps(found) if args.json else describe.as_text(found, args.source))
    return 0


def _validate(args: Namespace, overrides: Sequence[str], say: Say) -> int:
    opened, lost = open_splits(_stream(args, overrides, say))
    found = validate.validate(scan.scan(opened, say=say), opened, lost, args.near)
    if args.html:
        say(f"wrote {report.write_html(found, args.source, Path(args.html))}")
    print(json.dumps(found) if args.json else report.summary(found, args.source))
    return int(args.strict and any(line["mark"] == "FAIL" for line in found["verdicts"]))


def _split(args: Namespace, overrides: Sequence[str], say: Say) -> int:
    stream = _stream(args, overrides, say)
    if "sources" in stream:
        raise ValueError(f"{args.source}: is a mixture; split each of its sources")
    if Path(args.out).exists():
        raise ValueError(f"--out {args.out}: is there already, and is not written over; name another file")
    columns = stream["source"].get("columns", {})
    if args.together == "no" and "case" in columns and not set(MODALITIES) & set(columns):
        # ids and labels are all that is read: any column will do for the modality that a source must have
        stream = stream | {"source": stream["source"] | {"columns": columns | {"category": [columns["case"]]}}}
    opened, _ = open_splits(stream)
    rows, names, said = split.split_rows(opened, args.fractions, args.by, args.seed, args.together, split.NAMES[:len(args.fractions)])
    if stream["source"]["name"] == "manifest":
        from mmrep.data.tables import find_table

        out = split.write_table(find_table(stream["source"]["path"]), Path(args.out), dict(zip(rows.tolist(), names)), args.column)
    else:
        out = split.write_rows(Path(args.out), rows, names, args.column)
    for line in (*said, f"wrote {out}"):
        say(line)
    return 0


def _prepare(args: Namespace, overrides: Sequence[str], say: Say) -> int:
    from mmrep.data.prepare import prepare

    prepare(_stream(args, overrides, say), args.out, args.processes or None, args.shard, say)
    return 0


def _show(args: Namespace, overrides: Sequence[str], say: Say) -> int:
    from mmrep.data import show

    if args.source.partition(":")[0].endswith(".py"):
        from mmrep import config as cfg

        config = cfg.load(args.source, overrides)
        cfg.check_keys(config)
        out = Path(args.out)
        say(f"wrote {show.show(config, out, say=say) if args.times is None else show.show_augmented(config, out, args.times)}")
        return 0
    if args.times is not None:
        raise ValueError("--times: augmentation stands in a config; give one as SOURCE")
    opened, _ = open_splits(_stream(args, overrides, say))
    say(f"wrote {show.show_rows(opened, Path(args.out))}")
    return 0


def _overlap(args: Namespace, overrides: Sequence[str], say: Say) -> int:
    scans = []
    for source, end in (("a", ""), ("b", "_b")):
        config = getattr(args, source).partition(":")[0].endswith(".py")
        opened, _ = open_splits(_stream(args, overrides if config else (), say, source, end))
        scans.append(found := scan.scan(opened, say=say))
        what, bad = getattr(args, source), sum(found.skipped.values())
        why = f"; e.g. {found.problems[0][2]}" if found.problems else ""
        if not len(found):
            raise ValueError(f"{what}: none of its {bad:,} rows could be read, so nothing can be compared{why}"
                             + " (its columns are --columns-b, --data-b)" * bool(end))
        if bad:
            say(f"{what}: {bad:,} of {bad + len(found):,} rows could not be read, and are not compared{why}")
    found = overlap.overlap(*scans, args.near, cases=args.cases)
    print(json.dumps(found) if args.json else overlap.as_text(found, args.a, args.b))
    return 0


def _build(args: Namespace, overrides: Sequence[str], say: Say) -> int:
    from mmrep.core.names import nearest
    from mmrep.data.builders import DATASETS
    from mmrep.data.builders.base import prepare

    if not args.name:
        families: dict[tuple[str, str], list[str]] = {}  # names of one text: sizes, views and splits of the same files
        for name, dataset in sorted(DATASETS.items()):
            manual = re.sub(rf"\b{name}(?=\.npz)|(?<=Task)\d+_\w+(?=/)", "NAME", dataset.manual)
            families.setdefault((dataset.license, manual), []).append(f"{name}{'' if dataset.layout else ' (unverified)'}")
        for (license, manual), names in families.items():
            print(textwrap.fill(f"{', '.join(names)}: {license}", 120, subsequent_indent="  "))
            print(textwrap.fill(manual, 120, initial_indent="    ", subsequent_indent="    "))
        return 0
    if args.name not in DATASETS:
        raise ValueError(f"build: no data set {args.name!r}; {nearest(args.name, DATASETS)} (`mmrep data build` lists them)")
    if not args.manual_dir or not args.data_dir:
        raise ValueError(f"build {args.name}: give --data-dir, to write to, and --manual-dir, which holds {DATASETS[args.name].manual}")
    if not sys.stderr.isatty():
        import tensorflow_datasets as tfds

        tfds.disable_progress_bar()  # in a log its bars run into each other, and into the error
    builder = prepare(DATASETS[args.name], args.manual_dir, args.data_dir, args.beam, args.beam_flags.split())
    print(f"{', '.join(f'{split} {info.num_examples:,}' for split, info in builder.info.splits.items())}; a source: "
          f"{{'name': 'tfds', 'dataset': {args.name!r}, 'data_dir': {args.data_dir!r}}}")
    columns = DATASETS[args.name].columns
    if "image" in columns and "label" in columns:
        print(f"fine-tune on it: mmrep train configs/finetune.py:tfds={args.name},data_dir={args.data_dir} --workdir runs/{args.name}")
    return 0
