"""What the runs of one process share: compiled programs, opened sources, tokenizers, controls. A plain dict, (kind, key) -> value."""

from collections.abc import Callable, Hashable, Iterable
from typing import Any

Shared = dict[tuple[str, Hashable], Any]


def remember(shared: Shared | None, kind: str, key: Hashable, make: Callable[[], Any]) -> Any:
    """The value of a kind under a key, made when it is first asked for; always anew where nothing is shared (None)."""
    if shared is None:
        return make()
    if (kind, key) not in shared:
        shared[kind, key] = make()
    return shared[kind, key]


def forget(shared: Shared | None, kind: str, but: Iterable[Hashable] = ()) -> None:
    """Drop the values of a kind, but those of the keys that start with one of `but`: what holds memory must not pile up over many runs."""
    kept = set(but)
    for one in [k for k in shared or () if k[0] == kind and (k[1][0] if isinstance(k[1], tuple) else k[1]) not in kept]:
        del shared[one]
