"""Electrocardiograms: WFDB records, DICOM waveforms and arrays, as millivolt of named leads at one sampling rate."""

import io
import math
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from mmrep.data.archives import open_zip, read_npy, read_npz_member
from mmrep.data.medical.elements import inflated
from mmrep.data.medical.files import MAX_BYTES, Told, bounded, guarded, package, read_bytes

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
# Of I and II: Einthoven's law III = II - I, Goldberger's augmented leads (Malmivuo & Plonsey 1995, Bioelectromagnetism, ch. 15)
DERIVED = {"III": (-1.0, 1.0), "aVR": (-0.5, -0.5), "aVL": (1.0, -0.5), "aVF": (-0.5, 1.0)}
MILLIVOLT = {"v": 1000.0, "mv": 1.0, "uv": 1e-3, "µv": 1e-3, "μv": 1e-3, "nv": 1e-6}
CHANNELS = 256  # more than any ECG has


def read_wfdb(path: str | Path, rate: float | None = None, leads: Sequence[str] = LEADS, span: tuple[float, float] | None = None,
              max_bytes: int = MAX_BYTES) -> tuple[np.ndarray, dict[str, Any]]:
    """Read a WFDB record (`path` with or without .hea; signal files and segments lie beside it): f32[T, len(leads)] in mV.

    Segments of a record, of fixed or variable layout, are joined; `span` (start, end) in seconds reads only that piece, as a long record
    with gaps needs. See `arrange` for leads, `rate` (Hz), metadata and errors; also raises FileNotFoundError and other OSError. Header
    comments (age, sex, diagnoses) are not given out. Format: https://wfdb.io/spec/header-files.htm
    """
    wfdb = package("wfdb")
    path = Path(path)
    stem = path.with_suffix("") if path.suffix == ".hea" else path
    most = max_bytes if span is None else 1 << 62  # of a signal file, of which only the piece is read
    header, name, files = _header(wfdb, stem, most)
    size, native = int(header.sig_len or 0), float(header.fs or 0)
    segments = list(getattr(header, "seg_name", None) or [])
    for segment, length in zip(segments, getattr(header, "seg_len", None) or []):
        if segment == "~":  # a gap
            continue
        if Path(segment).name != segment or "\\" in segment or ":" in segment:
            raise ValueError(f"wfdb: {name} names a segment outside its folder; put the files side by side")
        part, where, more = _header(wfdb, stem.with_name(segment), most)
        files |= more
        if getattr(part, "n_seg", None) or int(part.sig_len or 0) != length or float(part.fs or 0) != native:
            raise ValueError(f"wfdb: {where} has segments, another length or another rate than {name} says; copy them again")
        if any(n != 1 for n in part.samps_per_frame or [1]):
            raise ValueError(f"wfdb: {where} has signals of several rates; resample them to one")
    if not files:
        raise ValueError(f"wfdb: {name} names no signals")
    start, end = (0, size) if span is None else (round(s * native) for s in span)
    if not 0 <= start < end <= size:
        raise ValueError(f"wfdb: {name} has {size} samples at {native} Hz, none or not all of them at span={span} s")
    bounded((end - start) * max(int(header.n_sig or 0), 1) * 8, name, max_bytes)
    if any(n != 1 for n in getattr(header, "samps_per_frame", None) or [1]):
        raise ValueError(f"wfdb: {name} has signals of several rates; resample them to one")
    try:
        record = wfdb.rdrecord(str(stem.absolute()), sampfrom=start, sampto=end)
        scale = [MILLIVOLT[unit.lower()] for unit in record.units]
        values, names = np.asarray(record.p_signal, float) * scale, [str(n) for n in record.sig_name]
    except KeyError:
        raise ValueError(f"wfdb: {name} has signals whose unit is not V, mV, uV or nV") from None
    except Exception as error:
        raise ValueError(f"wfdb: the signals of {name} are cut short or damaged ({type(error).__name__}); copy them again") from None
    return arrange(values, names, native, rate, leads, name, max_bytes)


def _header(wfdb: Any, stem: Path, max_bytes: int) -> tuple[Any, str, set[str]]:
    """A header of a record or a segment, what to call it, and the signal files it names, which are there."""
    _, name = read_bytes(stem.with_name(stem.name + ".hea"), 1 << 20)
    try:
        header = wfdb.rdheader(str(stem.absolute()))
        files = set(getattr(header, "file_name", None) or [])
        size, channels = int(header.sig_len or 0), int(header.n_sig or 0)
    except Exception as error:
        raise ValueError(f"wfdb: {name} is no readable header ({type(error).__name__})") from None
    if not 0 < channels <= CHANNELS or size < 0:
        raise ValueError(f"wfdb: {name} declares {channels} signals of {size} samples")
    files -= {"~"}  # of a layout, which has no samples
    for file in files:
        if Path(file).name != file or ":" in file or "\\" in file:
            raise ValueError(f"wfdb: {name} names a signal file outside its folder; put the files side by side")
        if not (stem.parent / file).is_file():
            raise FileNotFoundError(f"wfdb: {name} needs the signal file {stem.parent / file}")
        bounded((stem.parent / file).stat().st_size, str(stem.parent / file), max_bytes)
    return header, name, files


def read_dicom_ecg(source: str | Path | bytes, rate: float | None = None, leads: Sequence[str] = LEADS, group: int = 0,
                   max_bytes: int = MAX_BYTES) -> tuple[np.ndarray, dict[str, Any]]:
    """Read a waveform of a DICOM file: f32[T, len(leads)] in mV. `group` is the multiplex group, from 0 (often: rhythm, then median beat).

    See `arrange` for leads, `rate` (Hz), metadata and errors; also raises FileNotFoundError and other OSError. No other element of the
    file is read. Elements: DICOM PS3.3 C.10.9 (Waveform Module).
    """
    data, name = read_bytes(source, max_bytes)
    values, names, native = guarded(lambda: _waveform(data, name, group, max_bytes), name, "dicom")
    return arrange(values, names, native, rate, leads, name, max_bytes)


def _waveform(data: bytes, name: str, group: int, max_bytes: int) -> tuple[np.ndarray, list[str], float]:
    """Values f64[T, channels] in mV, names and Hz of a multiplex group."""
    pydicom = package("pydicom")
    file = pydicom.dcmread(io.BytesIO(inflated(data, name, max_bytes)), force=True, specific_tags=["WaveformSequence"])
    groups = list(file.get("WaveformSequence") or [])
    if not 0 <= group < len(groups):
        raise Told(f"dicom: {name} holds {len(groups)} waveform groups, no number {group}")
    item = groups[group]
    names = [str(channel.ChannelSourceSequence[0].CodeMeaning) for channel in item.ChannelDefinitionSequence]
    units = [str(channel.ChannelSensitivityUnitsSequence[0].CodeValue).lower() for channel in item.ChannelDefinitionSequence]
    if not set(units) <= set(MILLIVOLT):
        raise Told(f"dicom: {name} has channels whose unit is not V, mV, uV or nV")
    bounded(int(item.NumberOfWaveformSamples) * int(item.NumberOfWaveformChannels) * 8, name, max_bytes)
    values = np.asarray(pydicom.waveforms.multiplex_array(file, group, as_raw=False), float)
    return values * [MILLIVOLT[unit] for unit in units], names, float(item.SamplingFrequency)


def read_array_ecg(source: str | Path | bytes | np.ndarray, native_rate: float, rate: float | None = None, names: Sequence[str] = LEADS,
                   leads: Sequence[str] = LEADS, unit: str = "mV", key: str | None = None, max_bytes: int = MAX_BYTES
                   ) -> tuple[np.ndarray, dict[str, Any]]:
    """An ECG from an array, .npy or .npz (its only array, or `key`): f32[T, len(leads)] in mV.

    The array is [T, len(names)], or [len(names), T] where only that fits, in `unit` (V, mV, uV, nV) at `native_rate` Hz. See `arrange`
    for leads, `rate`, metadata and errors; also raises FileNotFoundError and other OSError. Nothing is unpickled.
    """
    if unit.lower() not in MILLIVOLT:
        raise ValueError(f"ecg: unit {unit!r} is not V, mV, uV or nV")
    if isinstance(source, np.ndarray):
        values, name = source, "array"
    else:
        data, name = read_bytes(source, max_bytes)
        values = _array(data, key, name, max_bytes)
    if values.ndim != 2 or len(names) not in values.shape or values.dtype.kind not in "iuf":
        raise ValueError(f"ecg: {name} is {values.dtype}{list(values.shape)}, not [T, {len(names)}] numbers of {', '.join(names)}; "
                         "pass names= (what is stored) and leads= (what of it is read)")
    values = values if values.shape[1] == len(names) else values.T
    with np.errstate(invalid="ignore"):
        values = values.astype(float)
    return arrange(values * MILLIVOLT[unit.lower()], list(names), native_rate, rate, leads, name, max_bytes)


def arrange(values: np.ndarray, names: Sequence[str], native_rate: float, rate: float | None, leads: Sequence[str], name: str,
            max_bytes: int = MAX_BYTES) -> tuple[np.ndarray, dict[str, Any]]:
    """Order leads by name and resample: values [T, len(names)] in mV at native_rate Hz -> f32[T * rate / native_rate, len(leads)].

    III, aVR, aVL and aVF are computed from I and II where the file lacks them. Resampling is polyphase with an anti-aliasing filter
    (scipy.signal.resample_poly). Metadata: leads, rate (Hz), native_rate, derived (leads computed).
    Raises ValueError on missing leads, a lead named twice, NaN or infinite samples, no samples, a rate that is not positive.
    """
    short = [lead_name(n) for n in names]
    if values.ndim != 2 or values.shape[1] != len(names) or not len(values):
        raise ValueError(f"ecg: {name} has shape {list(values.shape)} and {len(names)} lead names")
    for hertz in (native_rate, native_rate if rate is None else rate):
        if not (math.isfinite(hertz) and 0 < hertz <= 1e6):
            raise ValueError(f"ecg: {name} has or is asked for {hertz} Hz; rates are above 0 and at most 1e6")
    derived = [lead for lead in leads if lead not in short and lead in DERIVED and "I" in short and "II" in short]
    missing = [lead for lead in leads if lead not in short and lead not in derived]
    if missing:
        raise ValueError(f"ecg: {name} has {len(names)} leads and lacks {', '.join(missing)}; pass leads= those that all files have")
    needed = [lead for lead in leads if lead not in derived] + ["I", "II"] * bool(derived)
    if twice := sorted({lead for lead in needed if short.count(lead) > 1}):
        raise ValueError(f"ecg: {name} has the lead {twice[0]} more than once")
    column = {lead: values[:, short.index(lead)] for lead in needed}
    for lead in derived:
        column[lead] = DERIVED[lead][0] * column["I"] + DERIVED[lead][1] * column["II"]
    signal = np.stack([column[lead] for lead in leads], 1)
    if not np.isfinite(signal).all():
        bad = int((~np.isfinite(signal)).sum())
        raise ValueError(f"ecg: {name} has {bad} samples that are missing, NaN or infinite; mend or leave out the file, "
                         "or read a part (span=)")
    wanted = native_rate if rate is None else rate
    bounded(int(len(signal) * wanted / native_rate) * len(leads) * 8, f"{name} at {wanted} Hz", max_bytes)
    if wanted != native_rate:
        from scipy.signal import resample_poly

        ratio = Fraction(wanted / native_rate).limit_denominator(1000)
        if not 0 < ratio <= 1000:
            raise ValueError(f"ecg: {name} is at {native_rate} Hz, too far from {wanted} Hz to resample")
        signal = resample_poly(signal, ratio.numerator, ratio.denominator, axis=0, padtype="line")
    with np.errstate(over="ignore"):
        signal = signal.astype(np.float32)
    if not np.isfinite(signal).all():
        raise ValueError(f"ecg: {name} has values too large for an ECG in mV")
    return signal, {"leads": list(leads), "rate": float(wanted), "native_rate": float(native_rate), "derived": derived}


def lead_name(text: str) -> str:
    """The standard name of a lead as files write it: "Lead I (Einthoven)", "avr", "ECG V1 " -> "I", "aVR", "V1"; others as they are."""
    words = text.replace("(", " ").replace("_", " ").split()
    while words and words[0].lower() in ("lead", "ecg", "ekg"):
        words = words[1:]
    known = {lead.lower(): lead for lead in LEADS}
    return known.get(words[0].lower(), text) if words else text


def _array(data: bytes, key: str | None, name: str, max_bytes: int) -> np.ndarray:
    """The array of a .npy, or the one of an .npz that `key` names; its declared size is checked before it is made."""
    if data[:2] != b"PK":
        return read_npy(io.BytesIO(data), name, max_bytes)
    archive, members = open_zip(io.BytesIO(data), name)
    keys = {member.removesuffix(".npy"): info for member, info in members.items()}
    if (key is None and len(keys) != 1) or (key is not None and key not in keys):
        raise ValueError(f"ecg: {name} holds {len(keys)} arrays; pass key= the name of one")
    return read_npz_member(archive, keys[key] if key is not None else next(iter(keys.values())), name, max_bytes)
