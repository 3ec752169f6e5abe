"""The `mmrep` command; each subcommand calls one function. Nothing heavy is imported before it is known which."""

import argparse
import os
import sys
from pathlib import Path

EPILOG = """examples:
  mmrep train configs/quickstart.py --workdir runs/quickstart
  mmrep train configs/quickstart.py:smoke --workdir runs/try --config.optim.lr=3e-4
  mmrep evaluate runs/quickstart
  mmrep embed runs/quickstart --out embeddings.parquet
"""


def parser() -> argparse.ArgumentParser:
    """All subcommands and their flags."""
    top = argparse.ArgumentParser("mmrep", description="Representation learning across medical modalities, in JAX.",
                                  epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter)
    sub = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, text: str) -> argparse.ArgumentParser:
        return sub.add_parser(name, help=text, description=text)

    def config(p: argparse.ArgumentParser) -> None:
        p.add_argument("config", help="FILE.py[:arg]; override with --config.key=value")

    def run(p: argparse.ArgumentParser) -> None:
        p.add_argument("workdir", help="a run's folder")
        p.add_argument("--data", action="append", default=[], metavar="KEY=VALUE",
                       help="override of the data source, e.g. path=other.csv; several may follow")
        p.add_argument("--split", default="", help="train, val or test (default: test, whose readings are counted)")

    p = add("train", "train a config; the same command goes on after a stop")
    config(p)
    p.add_argument("--workdir", required=True, help="the run's folder")
    p.add_argument("--coordinator", default="", metavar="HOST:PORT", help="several hosts: address of host 0")
    p.add_argument("--hosts", type=int, default=0, help="several hosts: how many (SLURM and TPU are detected)")
    p.add_argument("--host", type=int, default=0, help="several hosts: this one's number")
    p = add("evaluate", "evaluate a run again, on its own or on other data")
    run(p)
    p.add_argument("--json", default="", help="write the results here; without it they are only printed")
    p.add_argument("--all-checkpoints", action="store_true", help="every saved step, on val unless --split says otherwise: a table")
    p.add_argument("--overlap", default="exclude", choices=("exclude", "refuse", "allow"),
                   help="rows of --data that the run was trained on: leave them out (default; where its training data are gone, say so), "
                   "end with an error, or do not look")
    p = add("embed", "write embeddings with ids")
    run(p)
    p.add_argument("--out", required=True, help="FILE.parquet or FILE.npz; `row` counts the table's rows from 0")
    p = add("check", "what to know before a long run: overfit, chance, gradients, memory, hours")
    config(p)
    p.add_argument("--steps", type=int, default=60, help="steps of the overfit test (default: 60)")
    p = add("compare", "two runs on the same rows: layers, paired differences by case, examples that flipped, subgroups")
    p.add_argument("a", help="a run's folder")
    p.add_argument("b", help="the other's; differences are b - a")
    p.add_argument("--split", default="test", help="train, val or test (default: test, whose readings are counted)")
    p.add_argument("--data", action="append", default=[], metavar="KEY=VALUE", help="override of both data sources")
    p.add_argument("--by", action="append", default=[], metavar="LABEL", help="a label whose values are subgroups; several may be given")
    p.add_argument("--out", default="", metavar="DIR", help="write compare.json and compare.png there")
    p = add("sweep", "run a study, or a config over axes and seeds; the same command goes on after a stop")
    p.formatter_class, p.epilog = argparse.RawDescriptionHelpFormatter, SWEEP
    p.add_argument("study", metavar="STUDY", help="a folder with a sweep.py (experiments/NAME, or NAME), or FILE.py[:arg] of a config")
    p.add_argument("--out", default="", metavar="DIR", help="folder of the runs and their table (default: runs/NAME/SCALE)")
    p.add_argument("--over", action="append", default=[], metavar="KEY=V1,V2,...", help="an axis of the grid; several may be given")
    p.add_argument("--seeds", default="", metavar="N", help="seeds 0..N-1, or a list such as 3,7,11 (default: the study's; 1 of a config)")
    p.add_argument("--scale", default="small", help="of a study: smoke, small or paper (default: small)")
    p.add_argument("--workers", type=int, default=1, metavar="N", help="processes on this machine (default: 1)")
    p.add_argument("--slurm", nargs="?", const="", metavar="NAME=VALUE,...", help="as a job array: partition=gpu,time=60,gpus_per_node=1, "
                   "nodes=2 (a run on several hosts), per_task=8 (runs of a task), wait=no, ... of sbatch")
    p.add_argument("--together", type=int, default=1, metavar="N", help="runs of one program in one compiled step (default: 1; more "
                   "may pay on accelerators, not on CPU)")
    p.add_argument("--search", type=int, default=0, metavar="N", help="instead of the grid: N settings that Optuna proposes, of ranges "
                   "(--over optim.lr=1e-4..1e-2), too")
    p.add_argument("--metric", default="", metavar="NAME", help="of --search: what is to be best on validation")
    p.add_argument("--mode", default="max", help="of --search: max or min (default: max)")
    p.add_argument("--retry", action="store_true", help="try again what failed")
    p.add_argument("--dry-run", action="store_true", help="list the runs and what became of them")
    p = add("report", "tables of a sweep's results, and one page to look at: report.html, .md, .tex, results.csv, .parquet")
    p.add_argument("dir", metavar="DIR", help="the sweep's folder")
    p.add_argument("--metric", action="append", default=[], metavar="NAME", help="a metric of the tables; several may be given")
    p.add_argument("--baseline", action="append", default=[], metavar="AXIS=VALUE", help="what the others are compared with")
    p.add_argument("--no-pictures", action="store_true", help="leave pictures and texts of rows, of patients perhaps, out of report.html")
    p = add("reproduce", "run a paper figure's study, draw it, and judge what it must show")
    p.add_argument("study", nargs="?", default="", metavar="STUDY", help="experiments/NAME, or NAME")
    p.add_argument("--all", action="store_true", help="every study")
    p.add_argument("--list", action="store_true", help="every study with its minutes and last result")
    p.add_argument("--json", action="store_true", help="with --list: as JSON")
    p.add_argument("--scale", default="small", help="smoke, small or paper (default: small)")
    p.add_argument("--out", default="", metavar="DIR", help="folder of its runs (default: runs/NAME/SCALE)")
    p.add_argument("--workers", type=int, default=1, metavar="N", help="processes on this machine (default: 1)")
    p.add_argument("--retry", action="store_true", help="try again what failed")
    p.add_argument("--record", action="store_true", help="write figure and verdicts into the study's folder and README.md, too")
    _data_parser(add("data", "look at data, divide and prepare them"))
    p = add("bench", "measure")
    bench = p.add_subparsers(dest="action", required=True, metavar="ACTION")
    p = bench.add_parser("step", help="one JSON line: compile, step, throughput, share of the GEMM peak, memory")
    config(p)
    p.add_argument("--steps", type=int, default=10)
    text = "one JSON line: examples a second of the loader, its first batch, its cache, waiting of a step"
    p = bench.add_parser("data", help=text, description=text, formatter_class=argparse.RawDescriptionHelpFormatter, epilog=BENCH_DATA)
    config(p)
    p.add_argument("--batches", type=int, default=32, help="batches to time (default: 32)")
    p.add_argument("--steps", type=int, default=0, help="train so many steps, too, and tell the share of their time spent waiting for data")
    return top


SWEEP = """examples:
  mmrep sweep configs/quickstart.py --over optim.lr=1e-3,2e-3 --over objectives.clip.name=contrastive,sigmoid --seeds 3 --workers 2
  mmrep sweep experiments/siglip_batch --scale smoke
Axes are keys of the config (`mmrep train --config.KEY=`); `arg.NAME` is an argument of the config's file; --config.KEY=VALUE holds for
all runs.
What is finished is skipped, what was stopped goes on; runs that differ in traced values only (learning rate, seed, weights, temperatures,
lengths, knobs of the data) share one compiled program in each worker."""

BENCH_DATA = """The line's keys; batches that lay ready are not timed:
  examples_per_s         rows read, decoded, augmented, tokenized and batched a second, without the stream's cache
  cpu_s_per_example      seconds of all cores for one
  first_batch_s          from opening the source to its first batch
  cached_examples_per_s  the same for rows that were read and kept (config.data.NAME.cache_mib), cached_rows of them
  batch, threads, cores  rows of a batch; config.loader.threads; cores the process may use
  decode                 libraries that decode pictures
  step_s, wait_share     with --steps: seconds of a train step, and the share of them spent waiting for a batch, in [0, 1]"""

SOURCE = """SOURCE is one of
  FILE.py[:arg]         a config (its stream main); override with --config.key=value
  TABLE                 .csv, .tsv, .jsonl, .parquet, or a folder with one metadata.* of these
  EMBEDDINGS            the .parquet or .npz that `mmrep embed` wrote
  FOLDER                that `mmrep data prepare` wrote
  tfds:NAME             a prepared TFDS dataset
  "{'name': ..., ...}"  what stands under `source` in a config
Columns of a table are named by --columns, else guessed, and the guess is told; further arguments of the source (images=images.zip
channels=3 splits.val=dev) follow --data. Rows are numbers in the file, from 0."""


def _data_parser(top: argparse.ArgumentParser) -> None:
    """Subcommands of `mmrep data`."""
    sub = top.add_subparsers(dest="action", required=True, metavar="ACTION")

    def add(name: str, text: str) -> argparse.ArgumentParser:
        p = sub.add_parser(name, help=text, description=text, epilog=SOURCE, formatter_class=argparse.RawDescriptionHelpFormatter)
        source(p, "source" if name != "overlap" else "a")
        return p

    def source(p: argparse.ArgumentParser, name: str) -> None:
        end = "" if name != "b" else "-b"
        p.add_argument(name, metavar="SOURCE" if name == "source" else name.upper(), help="see below")
        p.add_argument(f"--columns{end}", default="", metavar="KEY=COLUMN,...",
                       help="e.g. image=file,text=caption,label.finding=dx,case=patient; a key that comes twice names several columns: "
                            "image=frontal,image=lateral")
        p.add_argument(f"--data{end}", action="append", default=[], metavar="KEY=VALUE", help="arguments of the source; several may follow")

    add("describe", "a quick look: rows, fields, shapes, labels; 64 rows of each split are read").add_argument(
        "--json", action="store_true", help="print one JSON object")
    p = add("validate", "read every row: bad rows, missing modalities, duplicates, leakage between splits, classes")
    p.add_argument("--json", action="store_true", help="print one JSON object")
    p.add_argument("--html", default="", metavar="FILE", help="write the report as one page, too")
    p.add_argument("--strict", action="store_true", help="exit with 1 where a line says FAIL")
    p.add_argument("--near", type=int, default=6, metavar="BITS", help="pictures are near-identical where at most BITS of their 64-bit "
                   "perceptual hashes differ, and their 32-pixel thumbnails correlate by 0.998 (default: 6)")
    p = add("split", "divide rows anew: no patient in two splits, classes in proportion")
    p.add_argument("--out", required=True, metavar="FILE", help="the table with its new column (.csv, .tsv, .jsonl, .parquet); of another "
                   "source, of row numbers and splits; never written over")
    p.add_argument("--fractions", nargs="+", type=float, default=[0.8, 0.1, 0.1], help="of train, val and test (default: 0.8 0.1 0.1)")
    p.add_argument("--by", action="append", default=[], metavar="LABEL", help="label to keep in proportion (default: all of them)")
    p.add_argument("--together", default="no", choices=("no", "exact", "near"), help="keep equal or near-identical pictures in one split")
    p.add_argument("--column", default="split", help="name of the new column (default: split)")
    p.add_argument("--seed", type=int, default=0)
    p = add("prepare", "write decoded rows as array_record files, which the source `records` reads; go on if stopped")
    p.add_argument("--out", required=True, metavar="FOLDER")
    p.add_argument("--processes", type=int, default=0, help="default: one a core")
    p.add_argument("--shard", type=int, default=1024, help="rows of a file (default: 1024)")
    p = add("show", "contact sheet: of a config what the model gets, of another source its rows as they lie on disk")
    p.add_argument("--out", default="batch.png", help="PNG file (default: batch.png)")
    p.add_argument("--times", type=int, metavar="N", help="of a config: a few rows as they are prepared, each beside N augmentations of it")
    p = add("overlap", "the same pictures, texts or names in two sources")
    source(p, "b")
    p.add_argument("--json", action="store_true", help="print one JSON object")
    p.add_argument("--near", type=int, default=6, metavar="BITS", help="as for validate (default: 6)")
    p.add_argument("--cases", default="auto", choices=("auto", "yes", "no"), help="whether equal ids of cases are the same patients: auto, "
                   "unless one of the sources numbers its own in order (default)")
    text = "prepare a public data set from its owner's files for the source `tfds`; without NAME: which there are, and what they need"
    p = sub.add_parser("build", help=text, description=text)
    p.add_argument("name", nargs="?", default="", metavar="NAME")
    p.add_argument("--manual-dir", default="", metavar="DIR", help="folder of the files as their owner gives them out")
    p.add_argument("--data-dir", default="", metavar="DIR", help="folder to write to, in DIR/NAME/VERSION")
    p.add_argument("--beam", action="store_true", help="on Apache Beam")
    p.add_argument("--beam-flags", default="", metavar="FLAGS", help='its pipeline options in one word: "--runner=... --region=..."')


def prepare_process() -> str:
    """What every command sets before numpy and jax are imported: allocator, BLAS threads, compilation cache; what to log."""
    from mmrep.core import allocator

    said = allocator.tune()
    # BLAS threads that spin beside XLA's cost the evaluators' small matrices x6 (25 s -> 1.4 s for a probe on a busy
    # machine), and their number changes the last digits.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path.home() / ".cache" / "mmrep" / "jax"))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    return said


def quiet_writers() -> None:
    """After a failed write the checkpoint's writers report, each by itself, that nobody waits for them; `main`'s one line says it."""
    import logging

    usual = sys.unraisablehook
    sys.unraisablehook = lambda gone: None if str(gone.exc_value) == "Event loop is closed" else usual(gone)
    logging.getLogger("asyncio").addFilter(lambda record: "exception was never retrieved" not in record.getMessage())


def main(argv: list[str] | None = None) -> int:
    """Run a subcommand. Bad input ends with one line on standard error and exit code 2; 1 for a run that failed."""
    if argv is None:  # the command itself: the process is ours
        quiet_writers()
    argv = list(sys.argv[1:] if argv is None else argv)
    overrides, rest = [], []
    while argv:
        arg = argv.pop(0)
        if arg.startswith("--config."):
            overrides.append(arg if "=" in arg or not argv else f"{arg}={argv.pop(0)}")
        elif arg in ("--data", "--data-b"):  # several pairs, and what is no pair is not taken for one: the workdir may follow
            while argv and "=" in argv[0] and not argv[0].startswith("-"):
                rest += [arg, argv.pop(0)]
        else:
            rest.append(arg)
    args = parser().parse_args(rest)

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    said = prepare_process()
    try:
        return _dispatch(args, overrides, say, said)
    except BrokenPipeError:
        return 1
    except KeyboardInterrupt:
        return 130
    except (ValueError, OSError, FloatingPointError, MemoryError) as error:
        if os.environ.get("MMREP_TRACEBACK"):
            raise
        line = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, OSError) and error.errno == 28:
            line = f"the disk is full ({error.filename or 'while writing the run folder'}); free some space and run " \
                   "the same command again: it goes on from the last whole checkpoint"
        say(f"mmrep: error: {line}")
        return 1 if isinstance(error, (FloatingPointError, MemoryError)) else 2


def _dispatch(args: argparse.Namespace, overrides: list[str], say, said: str) -> int:
    if overrides and args.command in ("evaluate", "embed"):
        raise ValueError(f"{overrides[0].partition('=')[0]}: {args.command} takes the config of the run; override its data "
                         "source with --data KEY=VALUE")
    data = dict(pair.partition("=")[::2] for pair in getattr(args, "data", []) or [])
    if args.command in ("evaluate", "embed"):
        from mmrep import evaluate

        if args.command == "embed":
            evaluate.export(args.workdir, args.out, data, args.split or "test", say)
            return 0
        if args.all_checkpoints:
            results = evaluate.trajectory(args.workdir, data, args.split or "val", print)
        else:
            results = evaluate.evaluate(args.workdir, data, args.split or "test", print, args.overlap)
        if args.json:
            from mmrep.core.files import write_json

            write_json(Path(args.json), results)
        return 0

    if args.command == "compare":
        from mmrep.compare import compare
        from mmrep.compare_view import lines, write

        found = compare(args.a, args.b, args.split, tuple(args.by), data=data)
        print("\n".join(lines(found)))
        if args.out:
            print(f"wrote {write(found, Path(args.out))} and compare.json beside it")
        return 0
    if args.command == "sweep":
        from mmrep.sweeps.commands import sweep

        return sweep(args, overrides, print)
    if args.command == "reproduce":
        from mmrep.sweeps.commands import reproduce

        return reproduce(args, print)
    if args.command == "report":
        from mmrep.sweeps.commands import report

        return report(args, print)

    if args.command == "data":
        from mmrep.data.audit.commands import run

        return run(args, overrides, say)

    from mmrep import config as cfg

    config = cfg.load(args.config, overrides)
    cfg.check_keys(config)
    if args.command == "train":
        from mmrep import hosts
        from mmrep.stop import Stopped
        from mmrep.train import train

        hosts.start(args.coordinator, args.hosts, args.host)
        if said:
            say(said)
        try:
            train(config, args.workdir, say=say)
        except Stopped as stopped:
            say(f"mmrep: {stopped}")
            return 130 if stopped.name == "SIGINT" else 0  # a shell's loop over runs must end at Ctrl-C
        return 0
    if args.command == "check":
        from mmrep.check import check

        return 0 if check(config, args.steps, say=print) else 1
    import json

    from mmrep import bench

    print(json.dumps(bench.bench_step(config, args.steps) if args.action == "step" else bench.bench_data(config, args.batches, args.steps)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
