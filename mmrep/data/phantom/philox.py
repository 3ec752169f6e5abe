"""Philox4x64-10 over blocks of subjects, equal bit for bit to `np.random.Philox` started once for every subject.

Every random number of the phantom is addressed, never "next": (seed, subject, name of the factor, position). A new factor
therefore never changes an old one, and a block of subjects is drawn with a few hundred array operations instead of one
generator object for each subject.
"""

import zlib
from collections.abc import Mapping

import numpy as np

_MULTIPLIERS = (np.uint64(0xD2E7470EE14C6C93), np.uint64(0xCA5A826395121157))
_WEYL = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBB67AE8584CAA73B))
_LOW, _SHIFT = np.uint64(0xFFFFFFFF), np.uint64(32)


def _multiply(constant: np.uint64, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """High and low 64 bits of the 128-bit product, from four 32-bit products."""
    a, b = constant & _LOW, constant >> _SHIFT
    low, high = x & _LOW, x >> _SHIFT
    bottom, cross, other = a * low, b * low, a * high
    middle = (bottom >> _SHIFT) + (cross & _LOW) + other
    return b * high + (cross >> _SHIFT) + (middle >> _SHIFT), constant * x


def philox(keys: tuple[np.ndarray, np.ndarray], counters: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Ten rounds of Philox4x64 (Salmon et al. 2011).

    keys: two u64 words; counters: the two low u64 words of four (the high ones are zero); all broadcast to one shape [...].
    Returns u64[..., 4].
    """
    shape = np.broadcast_shapes(*(np.shape(w) for w in (*keys, *counters)))
    first, second = (np.broadcast_to(np.asarray(w, np.uint64), shape) for w in counters)
    third = fourth = np.zeros(shape, np.uint64)
    one, two = (np.asarray(k, np.uint64) for k in keys)
    with np.errstate(over="ignore"):
        for _ in range(10):
            high_a, low_a = _multiply(_MULTIPLIERS[0], first)
            high_b, low_b = _multiply(_MULTIPLIERS[1], third)
            first, second, third, fourth = high_b ^ second ^ one, low_b, high_a ^ fourth ^ two, low_a
            one, two = one + _WEYL[0], two + _WEYL[1]
    return np.stack([first, second, third, fourth], -1)


def stream(name: str) -> int:
    """The counter word of a named factor: CRC-32 of its name."""
    return zlib.crc32(name.encode())


def bits(seed: int, ids: np.ndarray, counts: Mapping[str, int]) -> dict[str, np.ndarray]:
    """Raw draws for a block of subjects.

    ids: i64[B], >= 0; counts: name -> how many draws. Returns {name: u64[B, count]}, row b of a name being
    `np.random.Philox(key=[seed, ids[b]], counter=[0, stream(name), 0, 0]).random_raw(count)`.
    """
    blocks = {name: -(-count // 4) for name, count in counts.items()}
    # numpy adds one to the counter before its first block
    low = np.concatenate([np.arange(1, n + 1, dtype=np.uint64) for n in blocks.values()])
    high = np.repeat(np.array([stream(name) for name in blocks], np.uint64), list(blocks.values()))
    keys = np.uint64(seed), np.asarray(ids).astype(np.uint64)[:, None]
    drawn = philox(keys, (low, high)).reshape(len(ids), 4 * len(low))
    ends = np.cumsum(list(blocks.values())) * 4
    return {name: drawn[:, end - 4 * blocks[name]:][:, :counts[name]] for name, end in zip(blocks, ends)}


def bits_of(block: Mapping[str, np.ndarray], counts: Mapping[str, int]) -> dict[str, np.ndarray]:
    """`bits` of the subjects of a block of latents, by its "seed" and "id"."""
    return bits(int(block["seed"][0]) if len(block["id"]) else 0, block["id"], counts)


def uniform(raw: np.ndarray) -> np.ndarray:
    """u64[...] -> f64[...] in the open interval (0, 1): the centers of 2^52 equal cells."""
    return ((raw >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52


def choice(raw: np.ndarray, n: int) -> np.ndarray:
    """u64[...] -> i32[...] in 0..n-1, uniform to 2^-32 n, by multiply and shift (integers only)."""
    return (((raw >> _SHIFT) * np.uint64(n)) >> _SHIFT).astype(np.int32)


# Wichura 1988, Applied Statistics 37, algorithm AS 241 (PPND16): numerators, then denominators, highest power first.
_CENTER = ((2509.0809287301226727, 33430.575583588128105, 67265.770927008700853, 45921.953931549871457,
            13731.693765509461125, 1971.5909503065514427, 133.14166789178437745, 3.387132872796366608),
           (5226.495278852545925, 28729.085735721942674, 39307.89580009271061, 21213.794301586595867,
            5394.1960214247511077, 687.1870074920579083, 42.313330701600911252, 1.0))
_MIDDLE = ((7.7454501427834140764e-4, .0227238449892691845833, .24178072517745061177, 1.27045825245236838258,
            3.64784832476320460504, 5.7694972214606914055, 4.6303378461565452959, 1.42343711074968357734),
           (1.05075007164441684324e-9, 5.475938084995344946e-4, .0151986665636164571966, .14810397642748007459,
            .68976733498510000455, 1.6763848301838038494, 2.05319162663775882187, 1.0))
_TAIL = ((2.01033439929228813265e-7, 2.71155556874348757815e-5, .0012426609473880784386, .026532189526576123093,
          .29656057182850489123, 1.7848265399172913358, 5.4637849111641143699, 6.6579046435011037772),
         (2.04426310338993978564e-15, 1.4215117583164458887e-7, 1.8463183175100546818e-5, 7.868691311456132591e-4,
          .0148753612908506148525, .13692988092273580531, .59983220655588793769, 1.0))


def _ratio(coefficients: tuple, x: np.ndarray) -> np.ndarray:
    top, bottom = (np.full_like(x, c[0]) for c in coefficients)
    for p, q in zip(*(c[1:] for c in coefficients)):
        top, bottom = top * x + p, bottom * x + q
    return top / bottom


def normal(u: np.ndarray) -> np.ndarray:
    """Standard normal quantile of u in (0, 1), f64[...], to about 1e-15; no scipy, so that start-up stays short."""
    q = u - 0.5
    r = np.sqrt(-np.log(np.minimum(u, 1 - u)))
    tail = np.where(r <= 5, _ratio(_MIDDLE, r - 1.6), _ratio(_TAIL, r - 5))
    return np.where(np.abs(q) <= 0.425, q * _ratio(_CENTER, 0.180625 - q * q), np.sign(q) * tail)
