"""Our loader beside torch's DataLoader on the same files, in turns within one run; prints rates and ratios.

  python -m experiments.loader.bench --torch TORCH/bin/python [--rounds 12] [--batches 16] [--json FILE]     (about 2 minutes)

Every arm is a process that reads 256 pictures at a time; each round asks every arm, in an order that rotates, for some batches to be
thrown away, which lay ready, then for --batches timed ones. A ratio is the median over rounds of that of the two rates in a round.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BATCH = 256
PAIRS = (("ours_fast", "torch_pil", 1.6), ("ours_fast", "torch_fast", 0.85), ("ours_exact", "torch_pil", None))


def ours(how: str, threads: int) -> None:
    """One arm: our training batches of configs/bench_data.py."""
    from mmrep.cli import prepare_process

    prepare_process()
    from mmrep import config as cfg
    from mmrep.data import pipeline, streams, tokenizers

    stream = cfg.load(str(ROOT / "configs" / f"bench_data.py:decode={how}"), []).data.main
    transform = streams.stream_transform(stream, tokenizers.byte(), 32, True, "config.data.main")
    source = streams.open_source(stream, "train")
    with pipeline.train_batches(source, stream.batch, 0, transform, threads=threads, prefetch=4) as batches:
        next(batches)
        print("ready", flush=True)
        for line in sys.stdin:
            for _ in range(4 + threads):  # what lay ready
                next(batches)
            began, before = time.perf_counter(), time.process_time()
            for _ in range(int(line)):
                batch = next(batches)
            assert batch["image"].shape == (BATCH, 64, 64, 3) and batch["text"].shape == (BATCH, 32)
            print(time.perf_counter() - began, time.process_time() - before, flush=True)


def folder() -> str:
    """The benchmark's files, written where they are not there yet."""
    from mmrep import config as cfg

    return cfg.load(str(ROOT / "configs" / "bench_data.py"), []).data.main.source.path


def spread(values: list[float]) -> dict[str, float]:
    """Median and quartiles."""
    low, middle, high = statistics.quantiles(values, n=4)
    return {"median": round(middle, 3), "low": round(low, 3), "high": round(high, 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch", help="interpreter with torch, Pillow, simplejpeg and opencv-python-headless")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--batches", type=int, default=16)
    parser.add_argument("--workers", type=int, default=2, help="torch's processes, and our threads")
    parser.add_argument("--json", default="", help="write the result here, too")
    parser.add_argument("--arm", default="", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.arm:
        return ours(args.arm, args.workers)
    files, peer = folder(), str(Path(__file__).with_name("peer_torch.py"))
    mine = [sys.executable, "-m", "experiments.loader.bench", "--workers", str(args.workers), "--arm"]
    commands = {"ours_fast": [*mine, "fast"], "ours_exact": [*mine, "exact"]}
    if args.torch:
        commands |= {f"torch_{how}": [args.torch, peer, how, files, str(args.workers)] for how in ("pil", "fast")}
    arms = {name: subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for name, command in commands.items()}
    wall, cpu = {name: [] for name in arms}, {name: [] for name in arms}
    try:
        for name, arm in arms.items():
            if arm.stdout.readline().strip() != "ready":
                raise SystemExit(f"{name}: did not start")
        for turn in range(args.rounds):
            names = list(arms)
            for name in itertools.islice(itertools.cycle(names), turn % len(names), turn % len(names) + len(names)):
                time.sleep(0.3)  # the arm before fills its buffers
                arms[name].stdin.write(f"{args.batches}\n")
                arms[name].stdin.flush()
                seconds, used = map(float, arms[name].stdout.readline().split())
                wall[name].append(args.batches * BATCH / seconds)
                cpu[name].append(used / args.batches / BATCH * 1e6)
    finally:
        for arm in arms.values():
            arm.stdin.close()
            arm.wait(30)
    result = {"cores": len(os.sched_getaffinity(0)), "workers": args.workers, "rounds": args.rounds, "load1": round(os.getloadavg()[0], 2),
              "images_per_s": {name: spread(rates) for name, rates in wall.items()},
              "cpu_us_per_image": {name: round(statistics.median(used), 1) for name, used in cpu.items()},
              "ratio": {f"{a}/{b}": spread([x / y for x, y in zip(wall[a], wall[b])]) | ({"wanted": wanted} if wanted else {})
                        for a, b, wanted in PAIRS if b in arms}}
    print(json.dumps(result, indent=1))
    if args.json:
        Path(args.json).write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
