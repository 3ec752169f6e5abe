"""Electrocardiograms: WFDB records, DICOM waveforms and arrays, as millivolt of named leads at one sampling rate."""

import io
import math
import warnings
import zipfile
import zlib
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from mmrep.data.medical.files import MAX_BYTES, bounded, package, read_bytes

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
# Of I and II: Einthoven's law III = II - I, Goldberger's augmented leads (Malmivuo & Plonsey 1995, Bioelectromagnetism, ch. 15)
DERIVED = {"III": (-1.0, 1.0), "aVR": (-0.5, -0.5), "aVL": (1.0, -0.5), "aVF": (-0.5, 1.0)}
MILLIVOLT = {"v": 1000.0, "mv": 1.0, "uv": 1e-3, "µv": 1e-3, "μv": 1e-3, "nv": 1e-6}
CHANNELS = 256  # more than any ECG has


def read_wfdb(path: str | Path, rate: float | None = None, leads: Sequence[str] = LEADS, max_bytes: int = MAX_BYTES
              ) -> tuple[np.ndarray, dict[str, Any]]:
    """Read a WFDB record (`path` with or without .hea; signal files lie beside it): f32[T, len(leads)] in mV.

    See `arrange` for leads, `rate` (Hz), metadata and errors; also raises FileNotFoundError and other OSError. Header comments (age, sex,
    diagnoses) are not given out. Format: https://wfdb.io/spec/header-files.htm
    """
    wfdb = package("wfdb")
    path = Path(path)
    stem = path.with_suffix("") if path.suffix == ".hea" else path
    header_path = stem.with_name(stem.name + ".hea")
    text, name = read_bytes(header_path, 1 << 20)
    try:
        header = wfdb.rdheader(str(stem.absolute()))
        files = set(header.file_name or [])
        size, channels = int(header.sig_len or 0), int(header.n_sig or 0)
    except Exception as error:
        raise ValueError(f"wfdb: {name} is no readable header ({type(error).__name__})") from None
    if not files or not channels or getattr(header, "n_seg", None):
        raise ValueError(f"wfdb: {name} names no signals, or segments; only records of one segment are read")
    for file in files:
        if Path(file).name != file or ":" in file or "\\" in file:
            raise ValueError(f"wfdb: {name} names a signal file outside its folder; put the files side by side")
        if not (stem.parent / file).is_file():
            raise FileNotFoundError(f"wfdb: {name} needs the signal file {stem.parent / file}")
        bounded((stem.parent / file).stat().st_size, str(stem.parent / file), max_bytes)
    if not 0 < channels <= CHANNELS or size < 0:
        raise ValueError(f"wfdb: {name} declares {channels} signals of {size} samples")
    bounded(size * channels * 8, name, max_bytes)
    frames = header.samps_per_frame or [1]
    if any(n != 1 for n in frames):
        raise ValueError(f"wfdb: {name} has signals of several rates; resample them to one")
    try:
        record = wfdb.rdrecord(str(stem.absolute()))
        scale = [MILLIVOLT[unit.lower()] for unit in record.units]
        values, names, native = np.asarray(record.p_signal, float) * scale, [str(n) for n in record.sig_name], float(record.fs)
    except KeyError:
        raise ValueError(f"wfdb: {name} has signals whose unit is not V, mV, uV or nV") from None
    except Exception as error:
        raise ValueError(f"wfdb: the signals of {name} are cut short or damaged ({type(error).__name__}); copy them again") from None
    return arrange(values, names, native, rate, leads, name, max_bytes)


def read_dicom_ecg(source: str | Path | bytes, rate: float | None = None, leads: Sequence[str] = LEADS, group: int = 0,
                   max_bytes: int = MAX_BYTES) -> tuple[np.ndarray, dict[str, Any]]:
    """Read a waveform of a DICOM file: f32[T, len(leads)] in mV. `group` is the multiplex group, from 0 (often: rhythm, then median beat).

    See `arrange` for leads, `rate` (Hz), metadata and errors; also raises FileNotFoundError and other OSError. No other element of the
    file is read. Elements: DICOM PS3.3 C.10.9 (Waveform Module).
    """
    pydicom = package("pydicom")
    data, name = read_bytes(source, max_bytes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they quote the file's values
        try:
            file = pydicom.dcmread(io.BytesIO(data), force=True, specific_tags=["WaveformSequence"])
            groups = list(file.get("WaveformSequence") or [])
        except Exception as error:
            raise ValueError(f"dicom: {name} cannot be read ({type(error).__name__})") from None
        if not 0 <= group < len(groups):
            raise ValueError(f"dicom: {name} holds {len(groups)} waveform groups, no number {group}")
        try:
            item = groups[group]
            names = [str(channel.ChannelSourceSequence[0].CodeMeaning) for channel in item.ChannelDefinitionSequence]
            scale = [MILLIVOLT[channel.ChannelSensitivityUnitsSequence[0].CodeValue.lower()] for channel in item.ChannelDefinitionSequence]
            native = float(item.SamplingFrequency)
            bounded(int(item.NumberOfWaveformSamples) * int(item.NumberOfWaveformChannels) * 8, name, max_bytes)
            values = np.asarray(pydicom.waveforms.multiplex_array(file, group, as_raw=False), float) * scale
        except Exception as error:
            raise ValueError(f"dicom: waveform {group} of {name} is incomplete or damaged ({type(error).__name__})") from None
    return arrange(values, names, native, rate, leads, name, max_bytes)


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
        raise ValueError(f"ecg: {name} is {values.dtype}{list(values.shape)}, not [T, {len(names)}] numbers of {', '.join(names)}")
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
        raise ValueError(f"ecg: {name} has {bad} samples that are missing, NaN or infinite; mend or leave out the file")
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
    """The standard name of a lead as files write it: "Lead I (Einthoven)", "avr", "V1 " -> "I", "aVR", "V1"; others as they are."""
    words = text.replace("(", " ").replace("_", " ").split()
    words = words[1:] if words and words[0].lower() == "lead" else words
    known = {lead.lower(): lead for lead in LEADS}
    return known.get(words[0].lower(), text) if words else text


def _array(data: bytes, key: str | None, name: str, max_bytes: int) -> np.ndarray:
    """The array of a .npy, or the one of an .npz that `key` names; its declared size is checked before it is made."""
    try:
        if data[:2] != b"PK":
            return _npy(io.BytesIO(data), name, max_bytes)
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            keys = [member.removesuffix(".npy") for member in archive.namelist()]
            if (key is None and len(keys) != 1) or (key is not None and key not in keys):
                raise ValueError(f"ecg: {name} holds {len(keys)} arrays; pass key= the name of one")
            with archive.open(f"{keys[0] if key is None else key}.npy") as member:
                return _npy(member, name, max_bytes)
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"ecg: {name} is damaged or no array ({type(error).__name__}); write it again") from None


def _npy(file: Any, name: str, max_bytes: int) -> np.ndarray:
    """An array out of a .npy stream whose header promises no more than the limit."""
    try:
        version = np.lib.format.read_magic(file)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = header(file)
    except Exception as error:
        raise ValueError(f"ecg: {name} is no .npy array ({type(error).__name__})") from None
    if dtype.hasobject:
        raise ValueError(f"ecg: {name} holds Python objects; write numbers")
    size = math.prod(shape) * dtype.itemsize
    bounded(size, name, max_bytes)
    content = file.read(size)
    if min(shape, default=1) < 0 or len(content) != size:
        raise ValueError(f"ecg: {name} is cut short: {len(content)} bytes of {size}; write it again")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")
