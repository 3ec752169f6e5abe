import pytest

from mmrep.data.builders.fundus import EYEPACS, ODIR
from tests.data.builders.folders import prepared, write_picture, write_table

HEADER = ("ID,Patient Age,Patient Sex,Left-Fundus,Right-Fundus,Left-Diagnostic Keywords,Right-Diagnostic Keywords,N,D,G,C,A,H,M,O,"
          "filepath,labels,target,filename")


def test_odir_gives_an_eye_a_row_with_its_own_keywords_and_the_patients_findings(tmp_path):
    rows = []
    for n in range(30):
        whole = [n, 60 + n, "Female", f"{n}_left.jpg", f"{n}_right.jpg", "cataract", "laser spot\uff0cdrusen", 0, 1, 0, 1, 0, 0, 0, 0]
        rows += [[*whole, "", "['D']", "[0]", f"{n}_{eye}.jpg"] for eye in ("left", "right")]
        for k, eye in enumerate(("left", "right")):
            write_picture(tmp_path / "raw" / "preprocessed_images" / f"{n}_{eye}.jpg", 8 * n + 4 * k)
    write_table(tmp_path / "raw" / "full_df.csv", HEADER, rows)
    found = prepared(ODIR, tmp_path)
    eyes = [r for split in found.values() for r in split]
    assert len(eyes) == 60 and all(found.values())
    assert sum(len({int(r["case"]) for r in split}) for split in found.values()) == 30
    for eye in eyes:
        assert eye["keywords"].decode() == ("cataract" if eye["eye"] == 0 else "laser spot, drusen")
        assert eye["findings"].tolist() == [0, 1, 0, 1, 0, 0, 0, 0] and eye["age"] == 60 + eye["case"]
        assert abs(int(eye["image"][0, 0, 0]) - (8 * eye["case"] + 4 * eye["eye"])) <= 2


def test_eyepacs_takes_validation_and_test_from_the_leaderboards(tmp_path):
    write_table(tmp_path / "raw" / "trainLabels.csv", "image,level", [["10_left", 0], ["10_right", 4]])
    write_table(tmp_path / "raw" / "retinopathy_solution.csv", "image,level,Usage",
                [["1_left", 0, "Private"], ["1_right", 2, "Private"], ["3_left", 1, "Public"]])
    for name in ("train/10_left", "train/10_right", "test/1_left", "test/1_right", "test/3_left"):
        write_picture(tmp_path / "raw" / f"{name}.jpeg", 100)
    found = prepared(EYEPACS, tmp_path)
    assert {name: sorted((int(r["case"]), int(r["eye"]), int(r["level"])) for r in split) for name, split in found.items()} == {
        "train": [(10, 0, 0), (10, 1, 4)], "val": [(3, 0, 1)], "test": [(1, 0, 0), (1, 1, 2)]}


def test_a_table_that_lacks_a_column_is_named(tmp_path):
    write_table(tmp_path / "raw" / "trainLabels.csv", "image,grade", [["10_left", 0]])
    write_picture(tmp_path / "raw" / "train" / "10_left.jpeg", 100)
    with pytest.raises(ValueError, match="trainLabels.csv has no column level"):
        prepared(EYEPACS, tmp_path)
