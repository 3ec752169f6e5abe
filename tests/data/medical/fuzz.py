"""Seeded damage to files."""

import numpy as np


def mutations(data: bytes, n: int, seed: int):
    """n damaged copies: bytes replaced (mostly in the first 2,000, where headers are), pieces removed or doubled, ends cut."""
    rng = np.random.default_rng(seed)
    for _ in range(n):
        copy = bytearray(data)
        kind = rng.integers(4)
        reach = len(copy) if rng.integers(4) == 0 else min(2000, len(copy))
        at = int(rng.integers(reach))
        if kind == 0:
            copy = copy[:at]
        elif kind == 1:
            del copy[at:at + int(rng.integers(1, 20))]
        elif kind == 2:
            copy[at:at] = copy[at:at + int(rng.integers(1, 20))]
        else:
            for place in rng.integers(reach, size=int(rng.integers(1, 8))):
                copy[place] = int(rng.choice([0, 1, 0x7F, 0x80, 0xFF, int(rng.integers(256))]))
        yield bytes(copy)


def only_documented(read, data: bytes, n: int, seed: int) -> tuple[int, int]:
    """(read, refused) of n mutations; anything but ValueError and OSError comes through, and an array read must be finite."""
    counts = [0, 0]
    for copy in mutations(data, n, seed):
        try:
            values = read(copy)[0]
        except (ValueError, OSError):
            counts[1] += 1
            continue
        assert np.isfinite(values).all()
        counts[0] += 1
    return counts[0], counts[1]
