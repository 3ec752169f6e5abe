from mmrep.cli import main
from mmrep.data.builders.ham10000 import HAM10000
from mmrep.data.tfds import tfds
from tests.data.builders.folders import prepared, write_picture, write_table

HEADER = "lesion_id,image_id,dx,dx_type,age,sex,localization,dataset"


def test_ham10000_keeps_the_pictures_of_a_lesion_together(tmp_path):
    rows = [[f"HAM_{n // 2:07d}", f"ISIC_{n:07d}", ("nv", "mel", "akiec")[n % 3], "histo",
             "" if n == 4 else 45.0, "male", "back", "rosendahl"]
            for n in range(24)]
    write_table(tmp_path / "raw" / "HAM10000_metadata.csv", HEADER, rows)
    for n in range(24):
        write_picture(tmp_path / "raw" / f"HAM10000_images_part_{1 + n % 2}" / f"ISIC_{n:07d}.jpg", 10 * n)
    found = prepared(HAM10000, tmp_path)
    assert sorted(r["image"][0, 0, 0] // 10 for split in found.values() for r in split) == list(range(24))
    cases = {name: {int(r["case"]) for r in split} for name, split in found.items()}
    assert sum(map(len, cases.values())) == 12 and all(cases.values())
    [unknown] = [r for split in found.values() for r in split if not r["age_known"]]
    assert unknown["age"] == 0 and unknown["image"].shape == (4, 5, 3) and unknown["dx"] == 4  # mel, by name


def test_what_was_prepared_is_a_source_by_the_builders_own_columns(tmp_path):
    rows = [[f"HAM_{n:07d}", f"ISIC_{n:07d}", "nv", "histo", 40, "female", "back", "rosendahl"] for n in range(24)]
    write_table(tmp_path / "raw" / "HAM10000_metadata.csv", HEADER, rows)
    for n in range(24):
        write_picture(tmp_path / "raw" / "HAM10000_images_part_1" / f"ISIC_{n:07d}.jpg", n)
    prepared(HAM10000, tmp_path)
    source = tfds("ham10000", "train", tmp_path / "prepared", HAM10000.columns)
    assert source.fields == ("image", "tabular", "category") and source.label_names["dx"][source[0]["label/dx"]] == "nv"
    assert source[0]["tabular"].tolist() == [40, 1] and len(set(source.cases.tolist())) == len(source)


def test_the_command_prepares_and_the_source_opens_by_name(tmp_path, capsys):
    header = "lesion_id,image_id,dx,dx_type,age,sex,localization"
    rows = [[f"HAM_{n:07d}", f"ISIC_{n:07d}", "nv", "histo", "40.0", "male", "back"] for n in range(40)]
    write_table(tmp_path / "raw" / "HAM10000_metadata.csv", header, rows)
    for row in rows:
        write_picture(tmp_path / "raw" / "HAM10000_images_part_1" / f"{row[1]}.jpg", 9)
    assert main(["data", "build"]) == 0 and "ham10000: CC BY-NC 4.0\n    HAM10000_metadata.csv" in capsys.readouterr().out
    command = ["data", "build", "ham10000", "--manual-dir", str(tmp_path / "raw"), "--data-dir", str(tmp_path / "data")]
    assert main(command) == 0 and "'dataset': 'ham10000'" in capsys.readouterr().out
    sources = {split: tfds("ham10000", split, tmp_path / "data") for split in ("train", "val", "test")}
    assert sum(map(len, sources.values())) == 40 and sources["train"].fields == ("image", "tabular", "category")
    assert sources["train"][0]["tabular"].tolist() == [40.0, 1.0] and sources["train"].label_names["dx"][5] == "nv"
    for wrong, message in (("ham1000", "did you mean 'ham10000'"), ("ham10000", "give --data-dir, to write to, and --manual-dir")):
        assert main(["data", "build", wrong]) != 0
        assert message in capsys.readouterr().err
