"""What a step on CPU feels of glibc's allocator; without glibc nothing is done. Imports no jax: `tune` comes before it."""

import ctypes

LARGEST, SMALLEST, PROBE = 64 << 20, 1 << 10, 1 << 30  # bytes


def _glibc() -> ctypes.CDLL | None:
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.malloc.restype, libc.malloc.argtypes = ctypes.c_size_t, (ctypes.c_size_t,)
        libc.free.restype, libc.free.argtypes = None, (ctypes.c_size_t,)
        libc.sbrk.restype, libc.sbrk.argtypes = ctypes.c_size_t, (ctypes.c_ssize_t,)
        libc.mallopt, libc.gnu_get_libc_version  # noqa: B018
    except (OSError, AttributeError):
        return None
    return libc


def tune() -> str:
    """Keep freed memory in the process, so that each step's temporaries are not mapped and faulted in again.

    Measured x0.78 a step on CPU. Must run before jax is imported. Returns what to say of it in the log: "" where
    it is set, or there is no glibc.
    """
    libc = _glibc()
    if libc is None:
        return ""
    # M_MMAP_MAX 0: everything from the heap; M_TRIM_THRESHOLD -1: never shrink it; M_ARENA_MAX 1: one for all threads
    done = [libc.mallopt(option, value) for option, value in ((-4, 0), (-1, -1), (-8, 1))]
    return "" if all(done) else "allocator: glibc refused the setting; steps on CPU may take a quarter longer"


def fill_holes() -> int:
    """Take, for good, the free pieces of 1 KiB and more that lie inside the heap; bytes taken. For a heap that `tune` set.

    XLA leaves some 50,000 of them behind a compilation (300 MiB). Every large allocation of a step searches their lists under
    the only arena's lock: 15 to 20 % of a step on two cores (measured; experiments/step_time).
    Call it after compiling and before the first step, whose own memory then comes from the heap's end.
    """
    libc = _glibc()
    if libc is None:
        return 0
    top = libc.malloc(PROBE)  # never touched: address space only
    on_heap = top and top + PROBE <= libc.sbrk(0)
    libc.free(top)
    if not on_heap:
        return 0
    taken, size = 0, LARGEST
    while size >= SMALLEST:
        piece = libc.malloc(size - 64)
        if piece and piece < top:
            taken += size
            continue
        libc.free(piece)
        size //= 2
    return taken
