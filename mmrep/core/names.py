"""Hints that name the nearest valid name."""

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str:
    """"did you mean ...?", or the list of valid names where none is near."""
    known = sorted(str(k) for k in known)
    close = difflib.get_close_matches(str(name), known, 1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else "valid: " + (", ".join(known) or "none")
