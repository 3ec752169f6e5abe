"""What a run writes while it runs: metrics.jsonl, metrics.csv, trackers by flag, and a line for the person."""

import csv
import json
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from mmrep.core.files import write_text
from mmrep.trackers import Tracker


class Writer:
    """Rows of metrics, appended to metrics.jsonl; a resumed run first forgets what came after its checkpoint."""

    def __init__(self, workdir: Path, step: int, active: bool = True, trackers: Iterable[Tracker] = ()):
        self.path, self.active, self._trackers = workdir / "metrics.jsonl", active, list(trackers)
        if not active:
            return
        if self.path.exists():
            write_text(self.path, "".join(json.dumps(r) + "\n" for r in read_rows(self.path) if r["step"] <= step))
        self._file = self.path.open("a")

    def write(self, step: int, metrics: dict[str, float]) -> None:
        """Append one row; `time` (Unix, in seconds) is the wall clock and the one thing that differs between equal runs."""
        if not self.active:
            return
        self._file.write(json.dumps({"step": step, "time": round(time.time(), 2)} | metrics) + "\n")
        self._file.flush()
        for tracker in self._trackers:
            tracker.write(step, metrics)

    def has(self, step: int, prefix: str) -> bool:
        """Whether metrics.jsonl holds a metric with this prefix for the step; the same on every host."""
        rows = read_rows(self.path) if self.path.exists() else []
        return any(r["step"] == step and any(k.startswith(prefix) for k in r) for r in rows)

    def close(self) -> None:
        """Flush and write metrics.csv, the same rows as a table."""
        if not self.active or self._file.closed:
            return
        self._file.close()
        for tracker in self._trackers:
            tracker.close()
        rows = read_rows(self.path)
        columns = list(dict.fromkeys(k for r in rows for k in r))
        part = self.path.with_suffix(".csv.part")
        with part.open("w", newline="") as f:
            table = csv.DictWriter(f, columns)
            table.writeheader()
            table.writerows(rows)
        part.replace(self.path.with_suffix(".csv"))


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a metrics.jsonl; a last line cut by a kill is left out."""
    rows = []
    for line in path.read_text().splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


class Progress:
    """One line on standard error, redrawn in a terminal, printed about every 10 % elsewhere."""

    def __init__(self, total: int, batch: int, start: int, say: Callable[[str], None], active: bool = True):
        self.total, self.batch, self.say = total, batch, say
        self.began, self.step0, self.last = time.perf_counter(), start, start
        self.live = active and sys.stderr.isatty()

    def warm(self, step: int) -> None:
        """Start the clock here: what came before was compilation."""
        self.began, self.step0 = time.perf_counter(), step

    def show(self, step: int, metrics: dict[str, float], waited: float) -> None:
        """step: steps done; waited: seconds the loop has waited for data since `warm`."""
        seconds = max(time.perf_counter() - self.began, 1e-9)
        done = max(step - self.step0, 1)
        rate = done / seconds
        left = (self.total - step) / rate
        head = f"step {step}/{self.total}  loss {metrics.get('loss', float('nan')):.4f}  "
        tail = f"{rate * self.batch:,.0f} examples/s  wait {100 * min(waited / seconds, 1):.0f} %  ETA {clock(left)}"
        tail = "" if step == self.step0 else tail  # the step that compiles tells no rate
        if self.live:
            width = 24
            full = int(width * step / self.total)
            print(f"\r\033[K{'█' * full}{'░' * (width - full)}  {head}{tail}", end="", file=sys.stderr, flush=True)
        elif step == self.total or step * 10 // self.total > self.last * 10 // self.total:
            self.say(head + tail)
        self.last = step

    def end(self) -> None:
        """Leave the line standing."""
        if self.live:
            print(file=sys.stderr)


def clock(seconds: float) -> str:
    """1:02:03 or 2:03."""
    m, s = divmod(int(seconds), 60)
    h, m = divmod(m, 60)
    return f"{h}:{m:02d}:{s:02d}" if h else f"{m}:{s:02d}"
