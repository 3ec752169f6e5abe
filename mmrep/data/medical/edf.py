"""EDF and BDF recordings (ECG, EEG, sleep) by edfio: named channels at one rate."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmrep.data.medical.ecg import MILLIVOLT, arrange, lead_name
from mmrep.data.medical.files import MAX_BYTES, Told, bounded, guarded, package, read_bytes


def read_edf(source: str | Path | bytes, rate: float | None = None, leads: Sequence[str] | None = None,
             span: tuple[float, float] | None = None, max_bytes: int = MAX_BYTES) -> tuple[np.ndarray, dict[str, Any]]:
    """Read an EDF, EDF+ or BDF file: f32[T, len(leads)], voltages in mV, other channels in the file's unit.

    `leads` are channels by label (an ECG's also as "I" for "ECG I" or "Lead I"); None takes all of them. `span` (start, end) in seconds
    reads a piece. Channels of several rates need `rate` (Hz). Derived leads, resampling and errors as `ecg.arrange`.
    Metadata: leads, units, rate (Hz), native_rate (the highest), derived. The header's patient and dates are not given out.
    Raises FileNotFoundError, other OSError; ValueError also on a discontinuous file (EDF+D), records cut short, no calibration.
    Format: https://www.edfplus.info/specs/edf.html
    """
    data, name = read_bytes(source, max_bytes)
    channels = guarded(lambda: _channels(data, name, span, max_bytes), name, "edf")
    rates = {label: hertz for label, _, hertz, _ in channels}
    wanted = [label for label, *_ in channels] if leads is None else list(leads)
    own = {lead: rates.get(lead, rates.get("I", max(rates.values()))) for lead in wanted}  # derived leads are of I and II
    if len(set(own.values())) > 1 and rate is None:
        raise ValueError(f"edf: {name} has channels at {sorted(set(own.values()))} Hz; pass rate=, or leads= of one rate")
    columns, derived = {}, []
    for hertz in sorted(set(own.values())):
        at = [(label, values) for label, _, each, values in channels if each == hertz]
        part = [lead for lead in wanted if own[lead] == hertz]
        signal, facts = arrange(np.stack([v for _, v in at], 1), [label for label, _ in at], hertz, rate, part, name, max_bytes)
        columns |= dict(zip(part, signal.T))
        derived += facts["derived"]
    length = min(len(values) for values in columns.values())  # of one time, so lengths differ by rounding
    units = {label: unit for label, unit, *_ in channels}
    return np.stack([columns[lead][:length] for lead in wanted], 1), {
        "leads": wanted, "units": [units.get(lead, "mV") for lead in wanted], "rate": float(max(own.values()) if rate is None else rate),
        "native_rate": float(max(own.values())), "derived": derived}


def _channels(data: bytes, name: str, span: tuple[float, float] | None, max_bytes: int) -> list[tuple[str, str, float, np.ndarray]]:
    """(label, unit, Hz, values f64[T]) of every signal of a file."""
    edfio = package("edfio")
    file = (edfio.read_bdf if data[:1] == b"\xff" else edfio.read_edf)(data, header_encoding="latin-1")
    count = int(data[252:256])  # of signals, annotations among them
    samples = sum(int(data[at:at + 8]) for at in range(256 + 216 * count, 256 + 224 * count, 8))  # in a data record
    if len(data) != int(data[184:192]) + int(data[236:244]) * samples * (3 if data[:1] == b"\xff" else 2):
        raise Told(f"edf: {name} is cut short, or was not finished: {len(data)} bytes are not the records it declares; copy it again")
    if file.reserved[3:5] == "+D":
        raise Told(f"edf: {name} is discontinuous (EDF+D); write its pieces as files of their own")
    if not file.signals:
        raise Told(f"edf: {name} has annotations only, no signals")
    start, end = (0.0, file.duration) if span is None else span
    if not 0 <= start < end <= file.duration + 1e-9:
        raise Told(f"edf: {name} lasts {file.duration:g} s, none or not all of span={span} s")
    bounded(16 * sum(int((end - start) * signal.sampling_frequency) for signal in file.signals), name, max_bytes)
    channels = []
    for signal in file.signals:
        if signal.physical_min == signal.physical_max or signal.digital_min == signal.digital_max:
            raise Told(f"edf: {name} has a channel without calibration (its least value is its greatest); write it again")
        hertz, unit = float(signal.sampling_frequency), signal.physical_dimension.strip()
        values = signal.data[round(start * hertz):round(end * hertz)]
        scale = MILLIVOLT.get(unit.lower())
        unit, values = (unit, values) if scale is None else ("mV", values * scale)
        channels.append((lead_name(signal.label.strip()), unit, hertz, values))
    return channels
