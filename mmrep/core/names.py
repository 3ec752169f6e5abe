"""Errors that name the config path and the nearest valid name."""

import difflib
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

NEAR = 0.5  # share of the letters two names must have in common
SHOWN = 40  # valid names in one line


def nearest(name: str, known: Iterable[str]) -> str:
    """"did you mean ...?", or the list of valid names where none is near."""
    known = sorted(str(k) for k in known)
    close = difflib.get_close_matches(str(name), known, 1, NEAR)
    if close:
        return f"did you mean {close[0]!r}?"
    more = f" and {len(known) - SHOWN} more" if len(known) > SHOWN else ""
    return "valid: " + ", ".join(known[:SHOWN]) + more if known else "there are none"


def within(name: str, value: float, low: float, high: float = math.inf, low_open: bool = False, high_open: bool = False) -> None:
    """Raise ValueError for a number outside its range [low, high], or without the ends that are open."""
    if not (low < value if low_open else low <= value) or not (value < high if high_open else value <= high):
        ends = f"{'(' if low_open else '['}{low}, {high}{')' if high_open or high == math.inf else ']'}"
        raise ValueError(f"{name}: {value} is not in {ends}")


@contextmanager
def located(where: str) -> Iterator[None]:
    """Turn any error of the body into a ValueError that begins with the config path `where` (if it names none yet).

    For tracing and building only: what fails there fails because of what the config asks for.
    """
    try:
        yield
    except OSError:
        raise  # names its file
    except Exception as error:
        text = " ".join(str(error).split())
        if isinstance(error, ValueError) and text.startswith(("config.", "config ")):
            raise
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        raise ValueError(f"{where}: {kind}{text}") from error
