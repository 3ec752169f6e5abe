import io
import os
from pathlib import Path

import numpy as np
import pytest

from mmrep.data.medical.ecg import LEADS, read_array_ecg, read_dicom_ecg, read_wfdb
from tests.data.medical.fuzz import mutations, only_documented

wfdb = pytest.importorskip("wfdb", reason="needs the extra `medical`: pip install mmrep[medical]")
pydicom = pytest.importorskip("pydicom", reason="needs the extra `medical`: pip install mmrep[medical]")
WAVEFORM = Path(pydicom.__file__).parent / "data" / "test_files" / "waveform_ecg.dcm"  # shipped in the package: no network


def waves(n=1000, leads=12):
    """Slow sines, in mV, one frequency a lead."""
    return np.sin(np.arange(n)[:, None] / 500 * 2 * np.pi * np.arange(1, leads + 1)).astype(np.float32)


def record(folder, names, values, units="mV"):
    wfdb.wrsamp("rec", fs=500, units=[units] * len(names), sig_name=list(names), p_signal=values.astype(float), fmt=["16"] * len(names),
                comments=["age: 61 PLANTED"], write_dir=str(folder))
    return folder / "rec"


def test_wfdb_leads_go_by_name_and_unit(tmp_path):
    values, order = waves(), np.random.default_rng(0).permutation(12)
    path = record(tmp_path, [LEADS[i].upper() for i in order], values[:, order] * 1000, "uV")
    read, meta = read_wfdb(path)
    np.testing.assert_allclose(read, values, atol=1e-3)
    assert meta == {"leads": list(LEADS), "rate": 500.0, "native_rate": 500.0, "derived": []}
    np.testing.assert_array_equal(read_wfdb(tmp_path / "rec.hea", leads=("V2", "I"))[0], read[:, [7, 0]])


def segments(folder, layout):
    """A record of 12 leads in three parts of 300, 400 and 300 samples; of variable layout with leads turned round in the second."""
    values = waves()
    for number, (start, end) in enumerate(((0, 300), (300, 700), (700, 1000))):
        order = np.arange(12)[::-1] if layout == "variable" and number == 1 else np.arange(12)
        wfdb.wrsamp(f"part{number}", fs=500, units=["mV"] * 12, sig_name=[LEADS[i] for i in order], fmt=["16"] * 12,
                    p_signal=values[start:end, order].astype(float), write_dir=str(folder))
    lines = ["part0 300", "part1 400", "part2 300"]
    if layout != "fixed":
        lines.insert(0, "layout 0")
        (folder / "layout.hea").write_text("layout 12 500 0\n" + "".join(f"~ 0 200 16 0 0 0 0 {lead}\n" for lead in LEADS))
    if layout == "gap":
        lines[2] = "~ 400"
    (folder / "all.hea").write_text(f"all/{len(lines)} 12 500 1000\n" + "\n".join(lines) + "\n")
    return folder / "all"


@pytest.mark.parametrize("layout", ["fixed", "variable"])
def test_segments_of_a_record_are_joined(tmp_path, layout):
    path = segments(tmp_path, layout)
    values, meta = read_wfdb(path)
    np.testing.assert_allclose(values, waves(), atol=1e-3)
    assert meta["native_rate"] == 500.0
    np.testing.assert_array_equal(read_wfdb(path, span=(0.5, 1.5))[0], values[250:750])
    with pytest.raises(ValueError, match="1000 samples at 500.0 Hz, none or not all"):
        read_wfdb(path, span=(1.0, 3.0))


def test_gaps_and_bad_segments_are_told(tmp_path):
    path = segments(tmp_path, "gap")
    with pytest.raises(ValueError, match="4800 samples that are missing.*span="):
        read_wfdb(path)
    np.testing.assert_allclose(read_wfdb(path, span=(1.4, 2.0))[0], waves()[700:], atol=1e-3)
    header = (tmp_path / "all.hea").read_text()
    for new, why in (("../part2 300", "outside its folder|no readable header"), ("all 300", "another length"),
                     ("part2 200", "another length|no readable"), ("part9 300", "no file at")):
        (tmp_path / "all.hea").write_text(header.replace("part2 300", new))
        with pytest.raises((ValueError, FileNotFoundError), match=why):
            read_wfdb(path)


def test_limb_leads_are_derived(tmp_path):
    values = waves(leads=8)
    read, meta = read_wfdb(record(tmp_path, ("I", "II", *LEADS[6:]), values))
    one, two = read[:, 0], read[:, 1]
    np.testing.assert_allclose(read[:, 2:6], np.stack([two - one, -(one + two) / 2, one - two / 2, two - one / 2], 1), atol=1e-6)
    assert meta["derived"] == ["III", "aVR", "aVL", "aVF"]


def test_resampling_keeps_slow_waves():
    read, meta = read_array_ecg(waves(), 500, rate=250)
    assert read.shape == (500, 12) and read.dtype == np.float32 and meta["rate"] == 250.0
    np.testing.assert_allclose(read[50:-50], waves()[::2][50:-50], atol=5e-3)
    np.testing.assert_allclose(read_array_ecg(np.full((1000, 12), 1.5), 500, rate=360)[0], 1.5, atol=1e-3)


def test_dicom_waveform():
    values, meta = read_dicom_ecg(WAVEFORM)
    raw = pydicom.dcmread(WAVEFORM).waveform_array(0)  # microvolt
    np.testing.assert_allclose(values, raw / 1000, atol=1e-6)
    np.testing.assert_allclose(values[:, 2], values[:, 1] - values[:, 0], atol=0.011)  # Einthoven's law, in the file's own steps
    assert meta["leads"] == list(LEADS) and meta["native_rate"] == 1000.0
    with pytest.raises(ValueError, match="no number 7"):
        read_dicom_ecg(WAVEFORM, group=7)


def test_arrays(tmp_path):
    values = waves()
    np.save(tmp_path / "a.npy", (values.T * 1000).astype(np.int16))
    np.savez(tmp_path / "a.npz", x=values, other=np.zeros(3))
    np.testing.assert_allclose(read_array_ecg(tmp_path / "a.npy", 500, unit="uV")[0], values, atol=1.1e-3)
    np.testing.assert_array_equal(read_array_ecg(tmp_path / "a.npz", 500, key="x")[0], values)
    with pytest.raises(ValueError, match="pass key="):
        read_array_ecg(tmp_path / "a.npz", 500)
    np.save(tmp_path / "o.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(ValueError, match="Python objects"):
        read_array_ecg(tmp_path / "o.npy", 500)


def test_bad_ecgs_are_told(tmp_path):
    with pytest.raises(ValueError, match="not \\[T, 12\\]"):
        read_array_ecg(waves(leads=11), 500)
    with pytest.raises(ValueError, match="lacks V6"):
        read_array_ecg(waves(leads=11), 500, names=LEADS[:11])
    holed = waves()
    holed[3, 4] = np.nan
    with pytest.raises(ValueError, match="1 samples that are missing"):
        read_array_ecg(holed, 500)
    with pytest.raises(ValueError, match="more than once"):
        read_array_ecg(waves(leads=2), 500, names=("I", "i"), leads=("I",))
    with pytest.raises(ValueError, match="Hz"):
        read_array_ecg(waves(), 0)
    path = record(tmp_path, LEADS, waves())
    signals = (tmp_path / "rec.dat").read_bytes()
    (tmp_path / "rec.dat").write_bytes(signals[:-100])
    with pytest.raises(ValueError, match="cut short"):
        read_wfdb(path)
    (tmp_path / "rec.dat").unlink()
    with pytest.raises(FileNotFoundError, match="rec.dat"):
        read_wfdb(path)
    header = (tmp_path / "rec.hea").read_text()
    (tmp_path / "rec.hea").write_text(header.replace("rec.dat", "../rec.dat"))
    with pytest.raises(ValueError, match="outside its folder|no readable header"):
        read_wfdb(path)


def test_mutated_files_raise_only_documented_errors(tmp_path):
    _, refused = only_documented(lambda copy: read_dicom_ecg(copy, max_bytes=1 << 24), WAVEFORM.read_bytes(), 60, 0)
    assert refused > 5
    for seed, save in enumerate((np.save, np.savez_compressed)):
        buffer = io.BytesIO()
        save(buffer, waves(50))
        only_documented(lambda copy: read_array_ecg(copy, 500, max_bytes=1 << 24), buffer.getvalue(), 100, seed)
    path = record(tmp_path, LEADS, waves(50))
    header, before = (tmp_path / "rec.hea").read_bytes(), set(os.listdir(tmp_path))
    for copy in mutations(header, 100, 3):
        (tmp_path / "rec.hea").write_bytes(copy)
        try:
            values, meta = read_wfdb(path, max_bytes=1 << 24)
        except (ValueError, OSError):
            continue
        assert np.isfinite(values).all() and "PLANTED" not in str(meta)
    assert set(os.listdir(tmp_path)) == before
