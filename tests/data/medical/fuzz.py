"""Seeded damage to files. `python -m tests.data.medical.fuzz N SEED [NAME]` reads N damaged copies of each file of `corpus`."""

import json
import struct
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFF0, 1 << 31, 1 << 62)


def mutations(data: bytes, n: int, seed: int):
    """n damaged copies: bytes, numbers and digits replaced (mostly in the first 2,000, where headers are), pieces removed, doubled or
    moved, ends cut."""
    rng = np.random.default_rng(seed)
    for _ in range(n):
        copy = bytearray(data)
        kind = rng.integers(7)
        reach = len(copy) if rng.integers(4) == 0 else min(2000, len(copy))
        at = int(rng.integers(reach))
        if kind == 0:
            copy = copy[:at]
        elif kind == 1:
            del copy[at:at + int(rng.integers(1, 20))]
        elif kind == 2:
            copy[at:at] = copy[at:at + int(rng.integers(1, 20))]
        elif kind == 3:
            width, order = int(rng.choice([2, 4, 8])), str(rng.choice(["<", ">"]))
            number = int(rng.choice(np.array(EXTREMES, object))) & ((1 << 8 * width) - 1)
            copy[at:at + width] = struct.pack(order + {2: "H", 4: "I", 8: "Q"}[width], number)
        elif kind == 4:
            digits = [i for i in range(at, min(at + 500, len(copy))) if 0x30 <= copy[i] <= 0x39]
            for place in digits[:int(rng.integers(1, 6))]:
                copy[place] = int(rng.choice(list(b"0123456789-.e ")))
        elif kind == 5:
            size, to = int(rng.integers(1, 64)), int(rng.integers(len(copy)))
            copy[to:to + size] = copy[at:at + size]
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
        except (ValueError, OSError) as error:
            assert "MemoryError" not in str(error)  # of a decoder, told as damage
            counts[1] += 1
            continue
        assert np.isfinite(values).all()
        counts[0] += 1
    return counts[0], counts[1]


def main(n: int, seed: int, only: str = "", room: int = 1 << 30) -> None:
    """Reads damaged copies of the files whose name holds `only`, with `room` bytes of memory more than reading them whole took.

    Prints a line before each file of the corpus, so that a crash tells its file, then JSON: {file: [read, refused, slowest seconds]}.
    """
    import resource

    from tests.data.medical.corpus import corpus

    warnings.simplefilter("ignore")
    counts = {}
    with tempfile.TemporaryDirectory() as folder:
        cases = [case for case in corpus(Path(folder)) if only in case[0]]
        for _, data, read in cases:  # what is imported late is no part of the room
            read(data)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + room, used + room))
        for number, (name, data, read) in enumerate(cases):
            print(name, file=sys.stderr, flush=True)
            slowest = 0.0

            def timed(copy, read=read):
                nonlocal slowest
                start = time.perf_counter()
                try:
                    return read(copy)
                finally:
                    slowest = max(slowest, time.perf_counter() - start)

            counts[name] = [*only_documented(timed, data, n, 1000 * seed + number), round(slowest, 3)]
    # not ru_maxrss, which a process has from the one that started it
    peak = next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    print(json.dumps({"counts": counts, "peak_mb": peak >> 10}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
