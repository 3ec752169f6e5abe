"""Ending a run from outside: SIGTERM and SIGINT."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Stopped(BaseException):
    """A signal asked the run to stop; its state is saved.

    No Exception: it may strike anywhere, and nobody on its way up may take it for an error of his own. `name`: the signal's.
    """

    def __init__(self, text: str, name: str = ""):
        super().__init__(text)
        self.name = name


class Stop:
    """Raises Stopped at once, but inside `later` (steps) only remembers the signal, so that the step is saved.

    `asked`: whether one came; `name`: which. Outside the main thread there are none to catch.
    """

    def __init__(self, workdir: Path) -> None:
        self.asked, self.name, self._later, self._old, self._where = False, "", False, {}, workdir

    def __enter__(self) -> "Stop":
        try:
            for number in (signal.SIGTERM, signal.SIGINT):
                self._old[number] = signal.signal(number, self._catch)
        except ValueError:
            pass
        return self

    def __exit__(self, *_: Any) -> None:
        for number, old in self._old.items():
            signal.signal(number, old)

    @contextmanager
    def later(self) -> Iterator[None]:
        """A context in which the loop itself looks at `asked`."""
        with self._mode(True):
            yield

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Inside `later`: a context that a signal ends with Stopped; also one that came before it."""
        with self._mode(False):
            if self.asked:
                raise Stopped(self._text(), self.name)
            yield

    @contextmanager
    def _mode(self, later: bool) -> Iterator[None]:
        before, self._later = self._later, later
        try:
            yield
        finally:
            self._later = before

    def _text(self) -> str:
        return f"{self._where}: stopped by {self.name}; the same command goes on from what is saved"

    def _catch(self, number: int, _: Any) -> None:
        twice, self.asked, self.name = self.asked, True, signal.Signals(number).name
        if not self._later:
            raise Stopped(self._text(), self.name)
        if twice and number == signal.SIGINT:
            raise KeyboardInterrupt  # asked twice
