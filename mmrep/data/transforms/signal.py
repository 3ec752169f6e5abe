"""Transforms of a `signal` f32[T, leads] (an ECG in mV): length, leads, disturbances, filters, scale. Gaussian noise: `filters.noise`.

`mask/signal`, [T] or [T, leads], goes along where time is cut.
"""

import functools
import math
from collections.abc import Sequence

import numpy as np

from mmrep.data.example import Example, Transform
from mmrep.data.transforms.checks import among, field, limits, number, switch, whole
from mmrep.data.transforms.pixels import on


def _check_mask(example: Example) -> None:
    """Raise ValueError for a `mask/signal` of another length."""
    n, marked = len(example["signal"]), len(example.get("mask/signal", example["signal"]))
    if marked != n:
        raise ValueError(f"mask/signal has {marked} samples, the signal {n}")


def crop_signal(length: int, random: bool = True) -> Transform:
    """Cut `length` samples at a uniformly random place, or in the middle. Raises ValueError where the signal is shorter."""
    whole("crop_signal: length", length)
    switch("crop_signal: random", random)

    def apply(example: Example, rng: np.random.Generator) -> Example:
        if field(example, "signal") is None:
            return example
        n = len(example["signal"])
        _check_mask(example)
        if n < length:
            raise ValueError(f"crop_signal: the signal has {n} samples, the crop {length}; pad_signal first")
        start = int(rng.integers(n - length + 1)) if random else (n - length) // 2
        return {**example, **{key: example[key][start:start + length] for key in ("signal", "mask/signal") if key in example}}

    return apply


def pad_signal(length: int, where: str = "end") -> Transform:
    """Zeros after the signal ("end"), or evenly around it ("center"), up to `length` samples; a longer one is left as it is."""
    whole("pad_signal: length", length)
    among("pad_signal: where", where, ("end", "center"))

    def apply(example: Example, rng: np.random.Generator) -> Example:
        signal = field(example, "signal")
        if signal is None or len(signal) >= length:
            return example
        _check_mask(example)
        short = length - len(signal)
        before = short // 2 if where == "center" else 0
        return {**example, **{key: np.pad(example[key], [(before, short - before)] + [(0, 0)] * (example[key].ndim - 1))
                              for key in ("signal", "mask/signal") if key in example}}

    return apply


def drop_leads(p: float = 0.2) -> Transform:
    """Set every lead to 0 with probability p, never all: the one of the largest draw stays. Source: random lead
    masking (Oh et al. 2022, "Lead-agnostic self-supervised learning for local and global representations of electrocardiogram"), p 0.5."""
    number("drop_leads: p", p, 0, 1)

    def change(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        draws = rng.random(x.shape[1])
        return np.where((draws >= p) | (draws == draws.max()), x, x.dtype.type(0))

    return on("drop_leads", "signal", change, several=False)


def baseline_wander(rate: float, amplitude: float = 0.2, frequency: Sequence[float] = (0.05, 0.5), p: float = 0.5) -> Transform:
    """Add a slow sine with probability p, of a frequency (Hz) uniform in `frequency` and a random phase, common to the leads.

    Each lead gets its own amplitude, uniform in +- `amplitude` (in the signal's unit). rate: samples a second. It is what breathing does,
    below 0.5 Hz. Source: TaskAug (Raghu et al. 2022, "Data augmentation for electrocardiograms").
    """
    low, high = limits("baseline_wander: frequency", frequency, 0)
    if not high < number("baseline_wander: rate", rate, 0, low_open=True) / 2:
        raise ValueError(f"baseline_wander: {high} Hz is not below half of the rate, {rate} Hz")
    return _sine("baseline_wander", rate, amplitude, low, high, p)


def powerline(rate: float, frequency: float = 50.0, amplitude: float = 0.05, p: float = 0.5) -> Transform:
    """Add mains hum of `frequency` Hz (50, or 60) with probability p: a sine of random phase, each lead's amplitude uniform in +-
    `amplitude`. Raises ValueError where the rate cannot hold it."""
    number("powerline: frequency", frequency, 0, low_open=True)
    if not frequency < number("powerline: rate", rate, 0, low_open=True) / 2:
        raise ValueError(f"powerline: {frequency} Hz is not below half of the rate, {rate} Hz")
    return _sine("powerline", rate, amplitude, frequency, frequency, p)


def _sine(name: str, rate: float, amplitude: float, low: float, high: float, p: float) -> Transform:
    number(f"{name}: amplitude", amplitude, 0)

    def change(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        wave = np.sin(2 * math.pi * (rng.uniform(low, high) * np.arange(len(x)) / rate + rng.uniform()))
        return (x + wave[:, None] * rng.uniform(-amplitude, amplitude, x.shape[1])).astype(x.dtype)

    return on(name, "signal", change, p, several=False)


def scale_signal(low: float = 0.8, high: float = 1.25, per_lead: bool = False) -> Transform:
    """Times a factor, log-uniform in low..high; the same for all leads, which keeps their proportions, or one each."""
    for name, value in (("low", low), ("high", high)):
        number(f"scale_signal: {name}", value, 0, low_open=True)
    if low > high:
        raise ValueError(f"scale_signal: low {low} is above high {high}")
    switch("scale_signal: per_lead", per_lead)

    def change(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return x * np.exp(rng.uniform(math.log(low), math.log(high), x.shape[1] if per_lead else None)).astype(x.dtype)

    return on("scale_signal", "signal", change, several=False)


def mask_time(share: float = 0.1, count: int = 1, p: float = 1.0) -> Transform:
    """Set `count` spans of `share` of the time to 0 in all leads, each anywhere, with probability p. Source: SpecAugment's time masking
    (Park et al. 2019)."""
    number("mask_time: share", share, 0, 1)
    whole("mask_time: count", count)

    def change(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        x, span = x.copy(), round(share * len(x))
        for _ in range(count):
            start = int(rng.integers(len(x) - span + 1))
            x[start:start + span] = 0
        return x

    return on("mask_time", "signal", change, p, several=False)


def bandpass(rate: float, low: float = 0.5, high: float = 40.0, order: int = 3) -> Transform:
    """Keep low..high Hz (low 0: all below high), by a Butterworth filter forth and back, so nothing is shifted in time.

    rate: samples a second. The ends are mirrored, over two periods of `low` (twenty of `high`) where the record is as long: of ECGs, what
    the filter makes of an end is then far nearer to what it makes of a longer record than with scipy's default. Deterministic: for
    `prepare`. Raises ValueError where the rate cannot hold `high`. Source: scipy.signal.sosfiltfilt; 0.5 to 40 Hz is a monitor's band,
    not a diagnostic one, which reaches 150 Hz.
    """
    for name, value in (("rate", rate), ("low", low), ("high", high)):
        number(f"bandpass: {name}", value, 0)
    if not low < high < rate / 2:
        raise ValueError(f"bandpass: {low} to {high} Hz is not within 0 and half of the rate, {rate} Hz")
    whole("bandpass: order", order)
    beyond = math.ceil(2 * rate / low if low else 20 * rate / high)

    @functools.cache
    def sections() -> np.ndarray:
        from scipy.signal import butter

        return butter(order, (low, high) if low else high, "bandpass" if low else "lowpass", fs=rate, output="sos")

    def change(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        from scipy.signal import sosfiltfilt

        return sosfiltfilt(sections(), x, axis=0, padtype="even", padlen=min(beyond, len(x) - 1)).astype(x.dtype)

    return on("bandpass", "signal", change, several=False)


def normalize_signal(per: str = "lead", eps: float = 1e-6) -> Transform:
    """To f32 of mean 0 and deviation 1 over time: (x - mean) / (deviation + eps), of each "lead", or of the "record", which keeps the
    leads' proportions. A flat lead becomes zeros."""
    among("normalize_signal: per", per, ("lead", "record"))
    number("normalize_signal: eps", eps, 0, low_open=True)
    axis = 0 if per == "lead" else None

    def change(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        centered = x.astype(np.float64) - x.mean(axis, dtype=np.float64, keepdims=True)
        return (centered / (centered.std(axis, keepdims=True) + eps)).astype(np.float32)

    return on("normalize_signal", "signal", change, several=False)


def resample_signal(length: int) -> Transform:
    """To `length` samples over the same time, by polyphase filtering (no aliasing; the ends are continued by lines). For rates in Hz,
    the reader's `rate`. Raises ValueError for a signal with `mask/signal`. Source: scipy.signal.resample_poly."""
    whole("resample_signal: length", length)

    def apply(example: Example, rng: np.random.Generator) -> Example:
        x = field(example, "signal")
        if x is None or len(x) == length:
            return example
        from scipy.signal import resample_poly

        if "mask/signal" in example:
            raise ValueError("resample_signal: would leave mask/signal at the old rate; resample by the reader's `rate`")
        new = resample_poly(x, length, len(x), axis=0, padtype="line")
        return {**example, "signal": new[:length].astype(x.dtype)}

    return apply
