"""In processes of their own: the settings hold for a whole process and cannot be taken back."""

import ctypes
import subprocess
import sys

import pytest

from mmrep.core import allocator

HOLES = """
import sys
from mmrep.core import allocator
assert "jax" not in sys.modules
said = allocator.tune() if {tuned} else ""
libc = allocator._glibc()
pieces = [libc.malloc(200_000) for _ in range(1000)]
for piece in pieces[::2]:
    libc.free(piece)
first = allocator.fill_holes()
big = libc.malloc(100_000)
print(said, first, allocator.fill_holes(), big > max(pieces), sep="|")
"""


def run(tuned: bool) -> list[str]:
    code = HOLES.format(tuned=tuned)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert not done.returncode, done.stderr
    return done.stdout.strip().split("|")


@pytest.mark.skipif(allocator._glibc() is None, reason="the C library is not glibc, whose allocator this sets")
def test_holes_of_a_tuned_heap_are_filled_once():
    said, first, again, above = run(True)
    assert said == ""
    assert 500 * 190_000 < int(first) < 500 * 200_000 + (32 << 20)
    assert int(again) < 100_000 and above == "True"  # nothing is left below the heap's end
    _, first, again, _ = run(False)  # and as the allocator comes, it ends, whatever it finds
    assert int(first) < 2 * 500 * 200_000 and int(again) < 1 << 20


def test_without_glibc_nothing_is_done(monkeypatch):
    def missing(name):
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert allocator.tune() == "" and allocator.fill_holes() == 0
