import datetime

import numpy as np
import pytest

from mmrep.data.medical.ecg import LEADS
from mmrep.data.medical.edf import read_edf

edfio = pytest.importorskip("edfio", reason="needs the extra `medical`: pip install mmrep[medical]")


def wave(n, hertz, k=1):
    return np.sin(2 * np.pi * k * np.arange(n) / hertz)


def encoded(signals, kind="Edf", annotations=None):
    patient = edfio.Patient(name="PLANTED", birthdate=datetime.date(1901, 2, 3))
    return getattr(edfio, kind)(signals, patient=patient, annotations=annotations).to_bytes()


def channel(values, hertz, label, unit="uV", kind="Edf"):
    return getattr(edfio, f"{kind}Signal")(values, hertz, label=label, physical_dimension=unit)


@pytest.mark.parametrize("kind", ["Edf", "Bdf"])
def test_channels_go_by_label_and_unit(kind):
    values = np.stack([wave(1000, 500, k) for k in range(1, 9)], 1)
    labels = ["ECG I", "Lead II", *LEADS[6:]]
    data = encoded([channel(values[:, k] * 1000, 500, label, kind=kind) for k, label in enumerate(labels)], kind)
    read, meta = read_edf(data)
    np.testing.assert_allclose(read, values, atol=1e-4)
    assert meta["leads"] == ["I", "II", *LEADS[6:]] and meta["rate"] == 500.0 and meta["units"] == ["mV"] * 8
    twelve, meta = read_edf(data, rate=250, leads=LEADS)
    assert twelve.shape == (500, 12) and twelve.dtype == np.float32 and meta["derived"] == ["III", "aVR", "aVL", "aVF"]
    np.testing.assert_allclose(twelve[:, 2], twelve[:, 1] - twelve[:, 0], atol=1e-5)
    np.testing.assert_array_equal(read_edf(data, span=(0.5, 1.5))[0], read[250:750])


def test_channels_of_several_rates():
    data = encoded([channel(wave(2000, 200), 200, "EEG Fpz-Cz", "mV"), channel(wave(1000, 100), 100, "EOG", "mV"),
                    channel(36 + wave(10, 1), 1, "Temp rectal", "degC")])
    with pytest.raises(ValueError, match="channels at \\[1.0, 100.0, 200.0\\] Hz; pass rate="):
        read_edf(data)
    read, meta = read_edf(data, rate=100, leads=("EOG", "EEG Fpz-Cz"))
    assert read.shape == (1000, 2) and meta["leads"] == ["EOG", "EEG Fpz-Cz"] and meta["native_rate"] == 200.0
    np.testing.assert_allclose(read[20:-20, 0], read[20:-20, 1], atol=5e-3)
    assert read_edf(data, leads=("Temp rectal",))[1]["units"] == ["degC"]


def test_bad_recordings_are_told(tmp_path):
    data = encoded([channel(wave(1000, 100), 100, "I", "mV"), channel(wave(1000, 100), 100, "ECG I", "mV")])
    (tmp_path / "x.edf").write_bytes(data[:-100])
    for source, options, why in ((tmp_path / "x.edf", {}, "x.edf is cut short"), (data, {}, "lead I more than once"),
                                 (b"no recording", {}, "cut short or damaged"), (data, dict(span=(5, 20)), "lasts 10 s"),
                                 (data, dict(max_bytes=2000), "more than max_bytes"), (data, dict(leads=("V1",)), "lacks V1"),
                                 (data[:256 + 2 * 104] + b"1       " * 4 + data[256 + 2 * 120:], {}, "without calibration")):
        with pytest.raises(ValueError, match=why):
            read_edf(source, **options)
    plus = encoded([channel(wave(1000, 100), 100, "I", "mV")], annotations=[edfio.EdfAnnotation(0, None, "PLANTED")])
    assert "PLANTED" not in str(read_edf(plus)[1]) and read_edf(plus)[0].shape == (1000, 1)
    with pytest.raises(ValueError, match="discontinuous"):
        read_edf(plus.replace(b"EDF+C", b"EDF+D"))
    with pytest.raises(FileNotFoundError):
        read_edf(tmp_path / "none.edf")
