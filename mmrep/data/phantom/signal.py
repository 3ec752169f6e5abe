"""The phantom's ECG: beats of five Gaussian waves on a moving dipole, seen by up to twelve leads.

rhythm = when beats come and how wide they are; severity = a shift of the ST segment; class = a train of four 20 ms steps after the QRS
complex (late potentials), cardiomegaly = which train comes before it, and a slightly taller R wave; two more trains mean nothing;
heart rate = style, and age. Gain, baseline wander and the moment of the first beat differ between records.
Source: sums of Gaussians after McSharry et al. 2003 (ECGSYN), leads by projection.
"""

from functools import lru_cache

import numpy as np

from mmrep.data.phantom.image import noise_of
from mmrep.data.phantom.latents import Latents
from mmrep.data.phantom.philox import bits_of, choice, normal, uniform
from mmrep.data.phantom.scene import rim_level

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
FEW = ("II", "V1", "V5")  # of a record of three leads
STEP = 0.02             # seconds a step of a train
# levels in millivolt at nuisance 1, but gain: standard deviation of its logarithm; tall: R of cardiomegaly over R of others
LEVELS = {"train": 0.085, "decoy": 0.30, "noise": 0.10, "wander": 0.25, "offset": 0.30, "gain": 0.5, "st": 0.20, "tall": 1.05}
# wave: seconds from R, width in seconds, millivolt, direction of the dipole (left, down, front)
_WAVES = {"P": (-0.16, 0.025, 0.16, (.5, .8, .1)), "Q": (-0.035, 0.010, -0.12, (.6, .5, -.3)), "R": (0.0, 0.012, 1.1, (.6, .7, -.2)),
          "S": (0.035, 0.012, -0.30, (.2, .5, -.8)), "T": (0.28, 0.045, 0.32, (.6, .6, .4))}
_ST_DIRECTION = (0.5, 0.5, 0.5)
_WALSH = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]], np.float32)


@lru_cache(maxsize=1)
def lead_vectors() -> np.ndarray:
    """Leads as directions (left, down, front), f32[12,3]; the limb leads obey Einthoven's and Goldberger's laws."""
    one, two = np.array([1.0, 0.0, 0.0]), np.array([0.5, np.sqrt(0.75), 0.0])
    limb = [one, two, two - one, -(one + two) / 2, one - two / 2, two - one / 2]
    angles = np.deg2rad([115, 95, 75, 55, 25, 0])
    return np.stack([*limb, *(np.array([np.cos(a), 0.1, np.sin(a)]) for a in angles)]).astype(np.float32)


@lru_cache(maxsize=1)
def _trains() -> np.ndarray:
    """Ten trains of the classes and cardiomegaly's, f32[11,4 steps,3 directions], each direction a zero-mean sequence."""
    rows = [(1, 2, 3), (2, 3, 1), (3, 1, 2), (1, -3, 2), (2, -1, 3), (3, -2, 1), (-1, 2, -3), (-2, 3, -1), (-3, 1, -2), (-1, -3, -2),
            (1, 3, -2)]
    return np.stack([np.stack([np.sign(k) * _WALSH[abs(k)] for k in row], -1) for row in rows]).astype(np.float32)


def render_signal(block: Latents, samples: int = 128, leads: int = 3, rate: float = 50.0, nuisance: float = 1.0) -> np.ndarray:
    """Latents of B subjects -> f32[B,samples,leads] in millivolt; 12 leads in LEADS' order, or the 3 of FEW.

    rate: samples a second, 25..1000; nuisance: multiple of the calibrated noise, gain, wander and meaningless trains, >= 0.
    Raises ValueError for sizes out of range.
    """
    if leads not in (3, 12) or not 16 <= samples <= 20_000 or not 25 <= rate <= 1000 or nuisance < 0:
        raise ValueError(f"phantom signal: leads must be 3 or 12, samples 16..20000, rate 25..1000, nuisance >= 0, got {leads=} {samples=} "
                         f"{rate=} {nuisance=}")
    chunk = max(1, 32_768 // samples)
    parts = [_render({k: v[i:i + chunk] for k, v in block.items()}, samples, leads, rate, np.float32(nuisance))
             for i in range(0, len(block["id"]), chunk)]
    return np.concatenate(parts) if parts else np.zeros((0, samples, leads), np.float32)


def _beats(block: Latents, raw: dict, seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """When the R waves come, f32[B,K] seconds from before 0 to after `seconds`; which beat is an extrasystole, bool[B,K]."""
    rhythm, n = block["rhythm"], len(block["id"])
    pace = np.float32(74) + np.float32(10) * block["style/signal"][:, 1] - np.float32(0.15) * (block["age"] - 60)
    pace = np.clip(pace, 52, 120) * np.where(rhythm == 4, np.float32(0.58), np.float32(1))
    count = raw["signal/beats"].shape[1]
    jitter = normal(uniform(raw["signal/beats"])).astype(np.float32)
    spread = np.where(rhythm == 1, np.float32(0.22), np.float32(0.02))
    gaps = (60 / pace)[:, None] * np.clip(1 + spread[:, None] * jitter, 0.55, 1.6)
    early = np.zeros((n, count), bool)
    start, period = choice(raw["signal/phase"][:, 1], 3), 3
    early[:, 1:] = (np.arange(1, count)[None] % period == start[:, None]) & (rhythm == 2)[:, None]
    gaps = gaps * np.where(early, np.float32(0.6), np.float32(1))
    gaps[:, 1:] *= np.where(early[:, :-1], np.float32(1.35), np.float32(1))  # the pause that makes up for it
    first = -uniform(raw["signal/phase"][:, 0]).astype(np.float32) * gaps[:, 0] - gaps[:, 0]
    return first[:, None] + np.cumsum(gaps, axis=1), early


def _render(block: Latents, samples: int, leads: int, rate: float, nuisance: np.float32) -> np.ndarray:
    n, seconds, level = len(block["id"]), samples / rate, {k: np.float32(v) for k, v in LEVELS.items()}
    count = int(np.ceil(seconds / 0.28)) + 4
    raw = bits_of(block, {
        "signal/beats": count, "signal/phase": 3, "signal/gain": 1 + leads, "signal/wander": 2 * leads + 2, "signal/trains": 3})
    peaks, early = _beats(block, raw, seconds)
    at = (np.arange(samples) / rate).astype(np.float32)
    last = np.clip((at[None, :, None] >= peaks[:, None, :]).sum(-1) - 1, 0, count - 2)
    dipole = np.zeros((n, samples, 3), np.float32)
    tall = np.where(block["findings"][:, 3] > 0, level["tall"], np.float32(1))[:, None]
    wide = np.where(block["rhythm"] == 3, np.float32(2.2), np.float32(1))[:, None]
    trains = [_trains()[choice(raw["signal/trains"][:, k], 10)] for k in range(3)]
    trains[2] = np.where(block["findings"][:, 3, None, None] > 0, _trains()[10], trains[2])
    slots = ((_trains()[block["class"]], level["train"], 0.08), (trains[2], level["train"], -0.12),
             (trains[0], level["decoy"] * nuisance, 0.42), (trains[1], level["decoy"] * nuisance, -0.30))
    for beat in (last, last + 1):
        u = at - np.take_along_axis(peaks, beat, 1)
        odd = np.take_along_axis(early, beat, 1)
        for name, (offset, width, height, direction) in _WAVES.items():
            spread, gain = np.maximum(np.float32(width), np.float32(0.6 / rate)), np.float32(1)
            if name in "QRS":
                spread, gain = spread * np.where(odd, np.float32(2.5), wide), tall * np.where(odd, np.float32(-1), np.float32(1))
            elif name == "P":
                gain = (block["rhythm"] != 1)[:, None] * ~odd
            wave = (height * gain) * np.exp(-0.5 * ((u - offset) / spread) ** 2)
            dipole += wave[..., None].astype(np.float32) * np.array(direction, np.float32)
        st = ((u >= 0.06) & (u < 0.22)) * (rim_level(block).astype(np.float32) * level["st"])[:, None]
        dipole += st[..., None] * np.array(_ST_DIRECTION, np.float32)
        for train, gain, offset in slots:
            step = np.floor((u - np.float32(offset)) / np.float32(STEP)).astype(np.int64)
            inside = (step >= 0) & (step < 4)
            dipole += np.take_along_axis(train, np.clip(step, 0, 3)[..., None], 1) * (inside * gain)[..., None]
    phase = (2 * np.pi * uniform(raw["signal/phase"][:, 2:])).astype(np.float32)
    dipole += ((block["rhythm"] == 1)[:, None] * np.float32(0.06) * np.sin(2 * np.pi * 6.1 * at + phase))[..., None]  # fibrillation waves
    directions = lead_vectors() if leads == 12 else lead_vectors()[[LEADS.index(name) for name in FEW]]
    # explicit sums: a matrix product's order of summation depends on the block
    signal = dipole[..., :1] * directions[:, 0] + dipole[..., 1:2] * directions[:, 1] + dipole[..., 2:] * directions[:, 2]
    gains = normal(uniform(raw["signal/gain"])).astype(np.float32)
    signal = signal * np.exp(nuisance * (level["gain"] * gains[:, :1] + np.float32(0.1) * gains[:, 1:]))[:, None]
    slow = normal(uniform(raw["signal/wander"])).astype(np.float32)
    speed = np.float32(0.15) + np.float32(0.1) * np.abs(slow[:, -1:])
    sway = np.sin(2 * np.pi * speed * at + slow[:, -2:-1] * 3)
    signal += nuisance * (level["offset"] * slow[:, None, :leads] + level["wander"] * slow[:, None, leads:2 * leads] * sway[..., None])
    return signal + noise_of(block, "signal/noise", samples * leads).reshape(n, samples, leads) * (level["noise"] * nuisance)

