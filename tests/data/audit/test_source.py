"""What SOURCE on the command line means: columns named or guessed, arguments, and which splits there are."""

import json
import zipfile

import pytest

from mmrep.data.audit.source import named_columns, open_splits, stream_of
from tests.data.audit.tables import spec, write


def test_columns_by_name():
    assert named_columns("image=file, text=findings,text=impression,label.dx=diagnosis,label=sex,tabular=age,case=p") == {
        "image": "file", "text": ["findings", "impression"], "label": {"dx": "diagnosis", "sex": "sex"}, "tabular": ["age"], "case": "p"}
    assert named_columns("volume=scan,mask.liver=seg,features=rna_*,features.mir_features=mir_*") == {
        "volume": "scan", "mask": {"liver": "seg"}, "features": {"features": "rna_*", "mir_features": "mir_*"}}
    assert named_columns("image=frontal,image=lateral") == {"image": ["frontal", "lateral"]}
    for text, message in (("soft=a,soft.x=b", "names soft both with"),
                          ("image", "'image' is no KEY=COLUMN"), ("case=a,case=b", "names two columns for case"), ("=a", "no KEY=COLUMN")):
        with pytest.raises(ValueError, match=message):
            named_columns(text)


def test_arguments_of_a_source_and_dicts(tmp_path):
    path = str(write(tmp_path))
    stream = stream_of(path, "image=file", {"channels": "3", "splits.val": "dev", "filter": "{'dx': 'a'}"})
    assert stream == {"source": {"name": "manifest", "path": path, "columns": {"image": "file"}, "channels": 3, "splits": {"val": "dev"},
                                 "filter": {"dx": "a"}}}
    assert stream_of(json.dumps(stream["source"])) == stream
    assert stream_of("tfds:mine/config:1.0.0", "image=x") == {
        "source": {"name": "tfds", "dataset": "mine/config:1.0.0", "columns": {"image": "x"}}}
    assert stream_of("configs/quickstart.py:smoke", overrides=("data.main.batch=8",))["batch"] == 8
    (tmp_path / "x.npz").write_bytes(b"")
    with pytest.raises(ValueError, match="an npz that `mmrep embed` did not write"):
        stream_of(str(tmp_path / "x.npz"))


def test_columns_that_nothing_guesses_are_named_by_data(tmp_path):
    (tmp_path / "t.csv").write_text("weird,1\nx y z,k\ny z w,l\n")
    said = []
    stream = stream_of(str(tmp_path / "t.csv"), "", {"columns.text": "weird", "columns.case": "1"}, say=said.append)
    assert stream["source"]["columns"] == {"text": "weird", "case": "1"} and len(open_splits(stream)[0]["all"]) == 2
    with pytest.raises(ValueError, match="no column looks like files"):
        stream_of(str(tmp_path / "t.csv"), "", {"columns.case": "1"}, say=said.append)


def test_splits_that_are_not_there_are_told_and_rows_of_none_are_read(tmp_path):
    path = write(tmp_path, rows={i: {"split": "later" if i % 2 else None} for i in range(24, 32)})
    opened, lost = open_splits(spec(path))
    assert {s: len(o) for s, o in opened.items()} == {"train": 24, "test": 8, "none": 8} and list(lost) == ["val"]
    assert lost["val"].startswith("manifest") and "has no split 'val'" in lost["val"]
    with pytest.raises(ValueError, match="no column 'fil'; did you mean 'file'"):
        open_splits(spec(path, columns={"image": "fil"}))


def test_a_table_without_splits_tells_its_own_fault(tmp_path):
    (tmp_path / "t.csv").write_text("image\na.png\n")
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("../a.png", b"x")
    with pytest.raises(ValueError, match="evil.zip has a member '../a.png' that leads out"):
        open_splits(stream_of(str(tmp_path / "t.csv"), "", {"images": "evil.zip"}, say=lambda text: None))


def test_guesses_on_real_tables(shared):
    wanted = {"medpix2": ("image", "caption", "case_id", None, {"val": "dev"}),
              "covid_cxr": ("image", "clinical_notes", "patient_id", None, None),
              "odir_96": ("image", "diagnostic_keywords", "patient_id", "images.zip", None),
              "ham10000_64": ("image", None, "lesion_id", "images.zip", None)}
    for name, (image, text, case, images, splits) in wanted.items():
        said = []
        source = stream_of(str(shared / "data" / name), say=said.append)["source"]
        columns = source["columns"]
        assert (columns["image"], columns.get("text"), columns["case"], source.get("images"), source.get("splits")) == (
            image, text, case, images, splits)
        assert columns["split"] == "split" and "guessed image=image" in said[0]
    reports = stream_of(str(shared / "data" / "iu_cxr_reports" / "reports.jsonl"), say=said.append)["source"]["columns"]
    assert reports == {"text": ["findings", "impression"], "case": "uid"}


def test_masks_are_guessed_beside_pictures(shared):
    spec = stream_of(str(shared / "data" / "covid_cxr"), say=lambda text: None)["source"]
    assert spec["columns"]["mask"] == {"lung_mask": "lung_mask"}


def test_volumes_signals_and_vectors_are_guessed_by_what_files_are_there(tmp_path):
    import numpy as np

    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "1.nii.gz").write_bytes(b"")
    (tmp_path / "00001_hr.hea").write_bytes(b"")
    np.savez(tmp_path / "features.npz", **{"1": np.zeros(3)})
    for row, columns, more in (
            ({"path": "scans/1.nii.gz", "report": "x"}, {"volume": "path", "text": "report"}, {}),
            ({"filename_hr": "00001_hr", "report": "x"}, {"signal": "filename_hr", "text": "report"}, {}),
            ({"file": "00001_hr.hea", "patient": "p"}, {"signal": "file", "case": "patient"}, {}),
            ({"bag": "1", "patient": "p"}, {"features": "bag", "case": "patient"}, {"files": {"features": "features.npz"}}),
            ({"embedding": [0.5, 1.0], "patient": "p"}, {"features": "embedding", "case": "patient"}, {})):
        path = tmp_path / "table.jsonl"
        path.write_text(json.dumps(row) + "\n")
        assert stream_of(str(path), say=lambda text: None)["source"] == {
            "name": "manifest", "path": str(path), "columns": columns} | more
    wide = tmp_path / "omics.csv"
    wide.write_text(",".join(f"gene_{j}" for j in range(300)) + "\n" + ",".join(f"{j / 7:.3f}" for j in range(300)) + "\n")
    assert list(stream_of(str(wide), say=lambda text: None)["source"]["columns"]) == ["features"]
