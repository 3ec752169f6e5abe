"""A sweep of 24 runs against the same 24 as separate `mmrep train` processes, both with two workers; and many small runs in one table.

    python -m experiments.sweep_speed.bench --out /tmp/speed            three objectives x four learning rates x two seeds, 200 steps
    python -m experiments.sweep_speed.bench --out /tmp/many --many 1000   so many runs of 100 steps of a two-layer model on latent vectors
    python -m experiments.sweep_speed.bench --out /tmp/vmap --together 4 8   one worker: one after another, and so many in a step

Prints one JSON line a setting: seconds of wall clock, evaluations included, with an empty compilation cache ("cold") and with the one that
this left ("warm"). The model is small (configs/toys/phantom_tiny.py), as those of such sweeps are: where a step takes longer, the ratio
goes to 1.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OBJECTIVES, RATES, SEEDS, WORKERS = ("contrastive", "sigmoid", "align_uniform"), ("3e-4", "1e-3", "3e-3", "1e-2"), (0, 1), 2
CONFIG = "configs/toys/phantom_tiny.py"


def environment(cache: Path) -> dict[str, str]:
    return dict(os.environ) | {"JAX_COMPILATION_CACHE_DIR": str(cache)}


def separate(out: Path, cache: Path) -> float:
    """Seconds of the 24 as processes of their own, two at a time, program by program."""
    def one(run: tuple[str, str, int]) -> None:
        name, rate, seed = run
        subprocess.run([sys.executable, "-m", "mmrep.cli", "train", CONFIG, "--workdir", str(out / f"{name}_{rate}_{seed}"),
                        f"--config.objectives.clip.name={name}", f"--config.optim.lr={rate}", f"--config.seed={seed}"], cwd=ROOT,
                       env=environment(cache), check=True, capture_output=True)

    began = time.perf_counter()
    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(one, [(n, r, s) for n in OBJECTIVES for r in RATES for s in SEEDS]))
    return time.perf_counter() - began


def swept(out: Path, cache: Path, workers: int = WORKERS, together: int = 1, *more: str) -> float:
    """Seconds of the 24 as a sweep."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "mmrep.cli", "sweep", CONFIG, "--over", f"objectives.clip.name={','.join(OBJECTIVES)}", "--over",
                    f"optim.lr={','.join(RATES)}", "--seeds", str(len(SEEDS)), "--workers", str(workers), "--together", str(together),
                    "--out", str(out), *more], cwd=ROOT, env=environment(cache), check=True, capture_output=True)
    return time.perf_counter() - began


def folders(out: Path) -> list[Path]:
    return [out / "runs" / f"clip={n},lr={float(r):.6g}" / f"seed{s}" for n in OBJECTIVES for r in RATES for s in SEEDS]


def stacked(out: Path, widths: list[int]) -> int:
    """The 24 with one worker, one after another and so many in a step; and how far the first steps' losses are apart."""
    alone: list[float] = []
    for width in (1, *widths):
        shutil.rmtree(out / f"first{width}", ignore_errors=True)
        swept(out / f"first{width}", out / "cache", 1, width, "--config.total=2 steps", "--config.log.every=1 steps")
        losses = [json.loads((f / "metrics.jsonl").read_text().splitlines()[0])["loss"] for f in folders(out / f"first{width}")]
        alone = alone or losses
        apart = max(abs(a - b) for a, b in zip(alone, losses))
        for kind in ("cold", "warm"):
            shutil.rmtree(out / f"{kind}{width}", ignore_errors=True)
            seconds = swept(out / f"{kind}{width}", out / f"cache{width}", 1, width)
            said = [json.loads((f / "results.json").read_text())["seconds"]["train"] for f in folders(out / f"{kind}{width}")]
            print(json.dumps({"together": width, "cache": kind, "sweep_s": round(seconds, 1), "train_s_of_all": round(sum(said), 1),
                              "first_loss_apart": apart}), flush=True)
    return 0


def same_bits(alone: Path, sweep: Path) -> bool:
    """Whether every run's logged metrics and results are equal in both."""
    def numbers(folder: Path) -> list:
        rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        return [[{k: v for k, v in r.items() if k != "time"} for r in rows], json.loads((folder / "results.json").read_text())["metrics"]]

    names = [f"{n}_{r}_{s}" for n in OBJECTIVES for r in RATES for s in SEEDS]
    return all(numbers(alone / name) == numbers(folder) for name, folder in zip(names, folders(sweep)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs, made anew")
    parser.add_argument("--rounds", type=int, default=1, help="pairs of measurements, warm and cold (default: 1)")
    parser.add_argument("--many", type=int, default=0, metavar="N", help="instead: N runs of 100 steps in one sweep, and their report")
    parser.add_argument("--together", type=int, nargs="+", default=[], metavar="N", help="instead: one worker, N runs in a step")
    args = parser.parse_args()
    if args.together:
        return stacked(args.out, args.together)
    if args.many:
        return many(args.out, args.many)
    for number in range(args.rounds):
        folder = args.out / f"round{number}"
        shutil.rmtree(folder, ignore_errors=True)
        for kind in ("cold", "warm"):  # the second finds what the first compiled
            alone = separate(folder / f"{kind}_separate", folder / "cache_separate")
            sweep = swept(folder / f"{kind}_sweep", folder / "cache_sweep")
            print(json.dumps({"cache": kind, "separate_s": round(alone, 1), "sweep_s": round(sweep, 1), "ratio": round(alone / sweep, 2),
                              "same_bits": same_bits(folder / f"{kind}_separate", folder / f"{kind}_sweep")}), flush=True)
    return 0


def many(out: Path, n: int) -> int:
    """N runs: learning rates and temperatures at random, seeds 0 to 9."""
    shutil.rmtree(out, ignore_errors=True)
    (out / "study").mkdir(parents=True)
    (out / "study" / "sweep.py").write_text(f'''"""{n} small runs."""
from mmrep.sweeps import fixed, log_uniform, product, sample
CONFIG = {str(ROOT / "configs" / "toys" / "pairs.py")!r}
SEEDS = 10
def sweep(scale):
    draws = sample({{"optim.lr": log_uniform(1e-4, 1e-1), "objectives.pair.temperature": log_uniform(0.01, 1.0)}}, {max(n // 10, 1)})
    return product(draws, fixed({{"total": "100 steps", "eval.controls": (), "evals": {{"alignment": None}},
                                 "encoders": {{v: {{"widths": (128, 32)}} for v in ("x1", "x2")}}}}))
''')
    for command in (["sweep", str(out / "study"), "--workers", str(WORKERS), "--out", str(out / "runs")], ["report", str(out / "runs")]):
        began = time.perf_counter()
        with subprocess.Popen([sys.executable, "-m", "mmrep.cli", *command], cwd=ROOT, env=environment(out / "cache"),
                              stdout=subprocess.DEVNULL) as process:
            peak = 0
            while process.poll() is None:
                time.sleep(0.5)
                try:
                    text = Path(f"/proc/{process.pid}/status").read_text()
                except OSError:
                    break
                peak = max(peak, *(int(line.split()[1]) for line in text.splitlines() if line.startswith("VmHWM")), 0)
        largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        print(json.dumps({"command": command[0], "runs": n, "wall_s": round(time.perf_counter() - began, 1), "driver_mib": peak // 1024,
                          "exit": process.returncode, "largest_process_mib": largest // 1024}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
