"""The live view of a sweep: redrawn in a terminal, one line a finished run elsewhere."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

from mmrep.sweeps import status
from mmrep.writers import clock


class Live:
    """Counts, a bar with ETA, the runs at work with step and loss, the last ones that ended and those that failed."""

    def __init__(self, out: Path, total: int, states: dict[int, str], configs: list[dict], workers: int, say: Callable[[str], None]):
        self.out, self.total, self.states, self.configs, self.workers, self.say = out, total, states, configs, workers, say
        self.began_at, self.seconds = time.perf_counter(), []
        self.running: dict[int, tuple[str, float]] = {}
        self.recent: list[str] = []
        self.failed: list[str] = []
        self.live = sys.stderr.isatty()
        self.lines, self.last = 0, 0.0

    def began(self, run: int, name: str) -> None:
        """A run is at work."""
        self.running[run] = name, time.perf_counter()

    def ended(self, run: int, name: str, state: str, error: str, seconds: float) -> None:
        """A run has ended, well or not."""
        self.running.pop(run, None)
        self.states[run] = state
        if state == "finished":
            self.seconds.append(seconds)
        text = f"{name}  " + {"finished": clock(seconds), "failed": f"failed: {error}"}.get(state, error)
        (self.recent if state == "finished" else self.failed).append(text)
        if not self.live:
            self.say(f"[{self._done()}/{self.total}] {text}" + (f"  ETA {clock(eta)}" if (eta := self._eta()) else ""))

    def _done(self) -> int:
        return sum(s in ("finished", "failed") for s in self.states.values())

    def _eta(self) -> float:
        """Seconds until the last run ends, from those that ended; 0 before the first did."""
        if not self.seconds:
            return 0.0
        each = sum(self.seconds) / len(self.seconds)
        spent = sum(min(time.perf_counter() - began, each) for _, began in self.running.values())
        return max((each * (self.total - self._done()) - spent) / self.workers, 0.0)

    def _rows(self) -> list[str]:
        done, width = self._done(), 30
        full = int(width * done / max(self.total, 1))
        eta = self._eta()
        head = (f"{'█' * full}{'░' * (width - full)}  {done}/{self.total} runs  {clock(time.perf_counter() - self.began_at)}"
                + (f"  ETA {clock(eta)}" if eta else "") + (f"  {len(self.failed)} failed" if self.failed else ""))
        rows = [head]
        for run, (name, began) in sorted(self.running.items()):
            step, loss = status.progress(self.out / "runs" / name)
            total = status.planned_steps(self.configs[run])
            at = f"step {step}{f'/{total}' if total else ''}" + (f"  loss {loss:.4f}" if step else "")
            rows.append(f"  ▸ {name}  {at}  {clock(time.perf_counter() - began)}")
        rows += [f"  ✗ {text}" for text in self.failed[-4:]]
        return rows + [f"  ✓ {text}" for text in self.recent[-3:]]

    def draw(self) -> None:
        """Redraw, at most twice a second; nothing where standard error is no terminal."""
        if not self.live or time.perf_counter() - self.last < 0.4:
            return
        self.last = time.perf_counter()
        import shutil

        columns = shutil.get_terminal_size().columns - 1
        rows = [row[:columns] for row in self._rows()]
        up = f"\033[{self.lines}F" if self.lines else ""
        print(up + "".join(f"\033[K{row}\n" for row in rows) + "\033[J", end="", file=sys.stderr, flush=True)
        self.lines = len(rows)

    def end(self) -> None:
        """Leave the last picture standing."""
        self.last = 0.0
        self.draw()
