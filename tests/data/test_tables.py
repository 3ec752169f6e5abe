"""Tables as people's programs save them: encodings, quotes, very long and very wide ones."""

import numpy as np
import pytest

from mmrep.data.manifest import manifest
from mmrep.data.tables import Table


def test_a_byte_order_mark_is_no_part_of_a_name_and_utf16_is_told(tmp_path):
    (tmp_path / "a.csv").write_bytes(b'\xef\xbb\xbf"report",split\r\n"x\ny",train\r\n')
    assert Table(tmp_path / "a.csv").names == ["report", "split"] and Table(tmp_path / "a.csv")["report"] == ["x\ny"]
    for name, encoding in (("u.csv", "utf-16"), ("v.csv", "utf-16-le"), ("w.tsv", "utf-16-be"), ("x.jsonl", "utf-16")):
        (tmp_path / name).write_text('{"report": "naïve", "split": "train"}\n', encoding=encoding)
        with pytest.raises(ValueError, match=rf"{name}: is UTF-16, or no text at all; save it as UTF-8"):
            Table(tmp_path / name)


@pytest.mark.parametrize("kind,line", [("csv", 40_004), ("jsonl", 40_002)])
def test_one_latin_1_byte_far_down_has_a_line(tmp_path, kind, line):
    text = "a,b\n" + '1,"x\ny"\n' + "2,é\n" * 40_000 + "3," if kind == "csv" else '{"a": "é"}\n' * 40_001 + '{"a": "'
    path = tmp_path / f"t.{kind}"
    path.write_bytes(text.encode() + "caf\xe9".encode("latin-1") + (b"\n4,z\n" if kind == "csv" else b'"}\n'))
    with pytest.raises(ValueError, match=rf"t.{kind} row 40001 \(line {line}\): not UTF-8"):
        Table(path)


def test_a_quote_that_is_never_closed_is_told(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('a,b\n0,"one\ntwo"\n1,"x\n2,y\n3,z\n')
    with pytest.raises(ValueError, match=r"t.csv row 1 \(line 4\): a quote is not closed"):
        Table(path)
    path.write_text('a,b\n0,x\n1,"y\nz"\n\n')
    assert Table(path)["b"] == ["x", "y\nz"]


@pytest.mark.parametrize("kind", ["csv", "parquet", "jsonl"])
def test_columns_of_numbers_by_a_pattern(tmp_path, kind):
    import json

    import pyarrow
    from pyarrow import csv, parquet

    values = np.random.default_rng(0).normal(size=(30, 400)).astype(np.float32)
    cells = {f"gene_{j}": values[:, j].tolist() for j in range(400)} | {"age": list(range(30)), "split": ["train"] * 20 + ["test"] * 10}
    cells["gene_7"][3], cells["gene_9"][25] = None, None
    path = tmp_path / f"t.{kind}"
    if kind == "jsonl":
        path.write_text("".join(json.dumps(dict(zip(cells, row))) + "\n" for row in zip(*cells.values())))
    else:
        (csv.write_csv if kind == "csv" else parquet.write_table)(pyarrow.table(cells), path)
    columns = {"features": "gene_*", "tabular": ["age"]}
    with pytest.raises(ValueError, match="row 3.*features column 'gene_7' is null, NaN or infinite; pass missing='mean'"):
        manifest(path, "train", columns=columns)
    source = manifest(path, "train", columns=columns, missing="mean")
    np.testing.assert_allclose(source[0]["features"], values[0], rtol=1e-6)
    assert source[3]["features"][7] == pytest.approx(np.delete(values[:20, 7], 3).mean(), abs=1e-6)
    absent = manifest(path, "test", columns=columns, missing="absent")
    assert "features" not in absent[5] and absent[5]["tabular"].tolist() == [25] and absent.has["features"].sum() == 9
    assert manifest(path, "test", columns=columns, missing=-3.0)[5]["features"][9] == -3
    with pytest.raises(ValueError, match="no column fits 'geen_.'. It has gene_0, "):
        manifest(path, "train", columns={"features": "geen_*"})
