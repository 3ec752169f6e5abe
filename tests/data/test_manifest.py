"""Users' own tables: every format and picture store gives the same rows; every mistake is one line and its cure."""

import io
import json
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from mmrep.data.images import decode
from mmrep.data.manifest import manifest
from mmrep.data.pipeline import eval_batches, train_batches
from mmrep.data.sources import BadRow
from mmrep.data.tables import Table, identities

N = 12
COLUMNS = {"image": "file", "text": "report", "label": {"sex": "sex", "stage": "stage", "score": "score"},
           "tabular": ["age"], "category": ["sex"], "group": "report", "case": "patient"}


def picture(row):
    return np.random.default_rng(row).integers(0, 256, (9, 7), np.uint8)


def records():
    return [{"file": f"{i}.png", "report": None if i == 5 else f"Report, no. {i // 2}\nline \"two\"",
             "sex": None if i == 4 else "MF"[i % 2], "stage": None if i == 3 else i % 4, "score": i / 2 + 0.25,
             "age": 50.5 + i, "patient": f"p{i % 4}", "fold": ("train", "train", "dev", "test")[i % 4]}
            for i in range(N)]


def write(folder, kind, rows=None, name="metadata"):
    rows = records() if rows is None else rows
    path = folder / f"{name}.{kind}"
    if kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif kind == "parquet":
        import pyarrow
        from pyarrow import parquet

        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    else:
        def cell(v):
            return "" if v is None else '"' + str(v).replace('"', '""') + '"' if isinstance(v, str) else str(v)

        mark = "," if kind == "csv" else "\t"
        lines = [mark.join(rows[0])] + [mark.join(cell(v) for v in row.values()) for row in rows]
        path.write_text("\n".join(lines) + "\n")
    return path


def encoded(array, form="PNG"):
    out = io.BytesIO()
    Image.fromarray(array).save(out, form)
    return out.getvalue()


def store(folder, kind, rows=N):
    if kind == "folder":
        for i in range(rows):
            (folder / f"{i}.png").write_bytes(encoded(picture(i)))
        return None
    path = folder / f"pictures.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as file:
            for i in range(rows):
                file.writestr(f"{i}.png", encoded(picture(i)))
    else:
        np.savez(path, **{f"{i}.png": picture(i) for i in range(rows)})
    return path.name


def load(path, split="train", **more):
    return manifest(path, split, **{"columns": {**COLUMNS, "split": "fold"}, "splits": {"val": "dev"}, **more})


@pytest.mark.parametrize("kind,images", [("csv", "folder"), ("tsv", "zip"), ("jsonl", "npz"), ("parquet", "zip")])
def test_every_format_and_store_gives_the_same_rows(tmp_path, kind, images):
    write(tmp_path, kind)
    name = store(tmp_path, images)
    source = load(tmp_path, images=name)
    assert source.rows.tolist() == [0, 1, 4, 5, 8, 9] and len(load(tmp_path, "val", images=name)) == 3
    assert source.fields == ("image", "text", "tabular", "category")
    assert source.label_names == {"sex": ["F", "M"]} and source.category_names == {"sex": ["<null>", "F", "M"]}
    for i, row in enumerate(source.rows):
        example = source[i]
        assert np.array_equal(example["image"], picture(row)[..., None])
        assert ("text" in example) == (row != 5) == source.has["text"][i]
        if row != 5:
            assert example["text"] == f"Report, no. {row // 2}\nline \"two\""
        assert example["label/sex"] == (-1 if row == 4 else 1 - row % 2) and example["label/sex"].dtype == np.int32
        assert example["label/stage"] == row % 4 and example["label/score"].dtype == np.float32
        assert example["tabular"].tolist() == [50.5 + row]
        assert example["category"].tolist() == [0 if row == 4 else 2 - row % 2]
        assert example["case"] == row % 4
    # Ids are of the whole file, so that splits agree; a null group meets no other.
    whole = load(tmp_path, "all", images=name)
    groups = [int(whole[i]["group"]) for i in range(N)]
    assert groups[4] != groups[5] and groups[0] == groups[1] and len(set(groups)) == 7
    assert identities(["a b", " a  b\n", "a c", None, None]).tolist() == [0, 0, 1, 5, 6]  # white space tells no texts apart
    assert [int(source[i]["group"]) for i in range(6)] == [groups[row] for row in source.rows]
    assert source.tabular_mean[0] == pytest.approx(50.5 + np.mean(source.rows))
    assert [whole[3]["label/stage"], whole[3]["label/sex"]] == [-1, 0]


def test_filters(tmp_path):
    path = write(tmp_path, "csv")
    store(tmp_path, "folder")
    rows = lambda f: load(path, "all", filter=f).rows.tolist()  # noqa: E731
    assert rows({"sex": "M"}) == [0, 2, 6, 8, 10]
    assert rows({"sex": ["M", None]}) == [0, 2, 4, 6, 8, 10]
    assert rows({"sex": {"not": "M"}}) == [1, 3, 4, 5, 7, 9, 11]
    assert rows({"sex": {"not": None}, "stage": [1, 2]}) == [1, 2, 5, 6, 9, 10]
    assert rows({"report": None}) == [5]
    jsonl = write(tmp_path, "jsonl", [{**r, "ok": i > 3} for i, r in enumerate(records())], "other")
    assert load(jsonl, "all", filter={"ok": True}).rows.tolist() == list(range(4, 12))
    (tmp_path / "ids.csv").write_text("id,report,sex,split\n" + "".join(f"P-{i},Doe has it {i % 3}.,F,train\n" for i in range(30)))
    for column, told in (("id", "it has 30 other values"), ("report", "it has 3 other values")):
        with pytest.raises(ValueError, match=told) as error:
            manifest(tmp_path / "ids.csv", "train", columns={"text": "report", "case": "id"}, filter={column: "nobody"})
        assert "Doe" not in str(error.value) and "P-" not in str(error.value)
    with pytest.raises(ValueError, match="no row of 12 has 'sex' = 'X'; it has F, M"):
        rows({"sex": "X"})


def spoil(tmp_path, kind, row, **cells):
    rows = records()
    rows[row] |= cells
    return write(tmp_path, kind, rows, "spoiled")


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_each_mistake_is_one_line_with_file_and_row(tmp_path, kind):
    store(tmp_path, "folder")
    line = {"csv": 14, "jsonl": 9, "parquet": None}[kind]  # the csv's reports hold line ends (but row 5 is null)
    if kind == "csv":
        line = 1 + sum(1 if r["report"] is None else 2 for r in records()[:8]) + 1
    where = rf"spoiled.{kind} row 8" + (rf" \(line {line}\)" if line else "")
    cases = [({"file": "gone.png"}, FileNotFoundError, "image 'gone.png' is not in .*; set images="),
             ({"report": " "}, ValueError, "text column 'report' is empty; make it null"),
             ({"age": None}, ValueError, "tabular column 'age' is null, NaN or infinite; pass missing='mean'")]
    for cells, error, message in cases:
        path = spoil(tmp_path, kind, 8, **cells)
        with pytest.raises(error, match=where + ": " + message) as caught:
            load(path)
        assert "\n" not in str(caught.value)
        source = load(path, on_error="skip")
        assert source.skipped == 1 and list(source.problems) == [8] and source.rows.tolist() == [0, 1, 4, 5, 9]
    rows = records()
    rows[8]["file"], rows[1]["report"] = "gone.png", ""  # the first row is named, whatever is checked first
    with pytest.raises(ValueError, match=r"row 1( \(line \d\))?: text column"):
        load(write(tmp_path, kind, rows, "spoiled"))
    path = spoil(tmp_path, kind, 2)
    with pytest.raises(ValueError, match="no split 'valid'; it has dev, test, train"):
        load(path, "valid")
    with pytest.raises(ValueError, match="no column 'reprot'; did you mean 'report'?"):
        load(path, columns={"text": "reprot", "split": "fold"})
    with pytest.raises(ValueError, match="no column 'split'"):
        load(path, columns={"text": "report"})
    with pytest.raises(ValueError, match=r"columns\['txt'\] is not one of"):
        load(path, columns={"txt": "report"})
    with pytest.raises(FileNotFoundError, match="did you mean spoiled"):
        load(tmp_path / f"spoild.{kind}")
    with pytest.raises(FileNotFoundError, match="exactly one metadata"):
        load(tmp_path)


def test_broken_tables_name_their_line(tmp_path):
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"a": 1}\n\n{"a": \n')
    with pytest.raises(ValueError, match=r"bad.jsonl row 1 \(line 3\): not JSON"):
        Table(bad)
    ragged = tmp_path / "ragged.csv"
    ragged.write_text("a,b\n1,2\n3\n")
    with pytest.raises(ValueError, match=r"ragged.csv row 1 \(line 3\): Expected 2 columns, got 1"):
        Table(ragged)


def test_missing_tabular_cells(tmp_path):
    store(tmp_path, "folder")
    path = spoil(tmp_path, "jsonl", 8, age=None)
    known = [50.5 + row for row in (0, 1, 4, 5, 9)]
    assert load(path, missing="mean")[4]["tabular"][0] == pytest.approx(np.mean(known))
    assert load(path, missing=-1.0)[4]["tabular"][0] == -1
    absent = load(path, missing="absent")
    assert "tabular" not in absent[4] and absent.has["tabular"].tolist() == [True] * 4 + [False, True]
    marked = next(eval_batches(load(path, missing="mask"), 6))
    assert marked["mask/tabular"].tolist() == [[True]] * 4 + [[False], [True]] and marked["tabular"][4] == pytest.approx(np.mean(known))
    batch = next(eval_batches(absent, 6))
    assert batch["present"]["tabular"].tolist() == [True] * 4 + [False, True] and batch["tabular"][4, 0] == 0


def test_a_picture_found_corrupt_later_is_a_masked_row(tmp_path):
    store(tmp_path, "folder")
    path = write(tmp_path, "csv")
    whole = encoded(picture(4))
    for content in (whole[:len(whole) // 2], b"", b"no picture"):
        (tmp_path / "4.png").write_bytes(content)
        with pytest.raises(BadRow, match=r"metadata.csv row 4 \(line 10\): image '4.png': .*on_error='skip'"):
            load(path)[2]
        source = load(path, on_error="skip")
        assert source.skipped == 0 and len(source) == 6
        with train_batches(source, 6, 0) as iterator:
            batch = next(iterator)
            assert iterator.skipped == 1 and batch["index"][~batch["valid"]].tolist() == [2]
            assert len(batch["image"]) == 6


def test_pictures_of_every_kind(tmp_path):
    eight = picture(0)
    sixteen = (eight.astype(np.uint16) << 8) + 3
    color = np.stack([picture(1), picture(2), picture(3)], -1)
    for form in ("PNG", "TIFF"):
        assert np.array_equal(decode(encoded(eight, form), 1)[..., 0], eight)
        assert np.array_equal(decode(encoded(eight, form), 3), np.repeat(eight[..., None], 3, -1))
        assert np.array_equal(decode(encoded(color, form), 3), color)
        assert decode(encoded(color, form), 1).shape == (9, 7, 1)
        deep = decode(encoded(sixteen, form), 1, bits=16)
        assert deep.dtype == np.uint16 and np.array_equal(deep[..., 0], sixteen)
        with pytest.raises(ValueError, match="16 bits a pixel; set bits=16"):
            decode(encoded(sixteen, form), 1)
    assert np.array_equal(decode(encoded(eight), 1, bits=16)[..., 0], eight.astype(np.uint16) * 257)
    smooth = np.add.outer(np.arange(200), np.arange(160)).astype(np.uint8) // 2
    small = decode(encoded(smooth, "JPEG"), 1, size_hint=64)
    assert small.shape == (100, 80, 1)  # 1/2: a quarter would be below 64
    assert decode(encoded(smooth, "JPEG"), 1, size_hint=200).shape == (200, 160, 1)
    # One array and row numbers, without naming pictures.
    np.savez(tmp_path / "stack.npz", np.stack([picture(i) for i in range(N)]))
    path = write(tmp_path, "jsonl", [{**row, "number": N - 1 - i} for i, row in enumerate(records())])
    source = load(path, "all", images="stack.npz", columns={"image": "number"})
    assert np.array_equal(source[2]["image"][..., 0], picture(9))


@pytest.mark.parametrize("kind", ["zip", "npz"])
def test_a_truncated_archive_is_one_line(tmp_path, kind):
    write(tmp_path, "csv")
    path = tmp_path / store(tmp_path, kind)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match=rf"images: .*pictures.{kind} is damaged .*again") as caught:
        load(tmp_path, images=path.name)
    assert "\n" not in str(caught.value)


def test_bytes_that_are_not_utf8_have_a_row(tmp_path):
    rows = [json.dumps({"report": text, "split": "train"}).encode() for text in ("a", "b")]
    (tmp_path / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + rows[0] + b'\n\n{"report": "caf\xe9"}\n')
    with pytest.raises(ValueError, match=r"a.jsonl row 1 \(line 3\): not UTF-8 at byte 15; save the file as UTF-8"):
        Table(tmp_path / "a.jsonl")
    (tmp_path / "b.jsonl").write_bytes(b"\xef\xbb\xbf" + b"\r\n".join(rows))
    assert Table(tmp_path / "b.jsonl")["report"] == ["a", "b"]
    (tmp_path / "c.csv").write_bytes(b'a,b\n1,"x\ny"\n2,caf\xe9\n')
    with pytest.raises(ValueError, match=r"c.csv row 1 \(line 4\): not UTF-8; save the file as UTF-8"):
        Table(tmp_path / "c.csv")
    (tmp_path / "d.csv").write_bytes(b"a,caf\xe9\n1,2\n")
    with pytest.raises(ValueError, match="d.csv: the names of its columns are not UTF-8"):
        Table(tmp_path / "d.csv")


def test_encrypted_members_and_pages_are_one_line(tmp_path):
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as file:
        file.writestr("0.png", b"secret")
    data = bytearray((tmp_path / "p.zip").read_bytes())
    for place, magic in ((6, b"PK\x03\x04"), (8, b"PK\x01\x02")):
        data[data.index(magic) + place] |= 1  # the flag of an encrypted member
    (tmp_path / "p.zip").write_bytes(data)
    pages = [Image.fromarray(picture(i)) for i in range(3)]
    pages[0].save(tmp_path / "0.tif", save_all=True, append_images=pages[1:])
    for name, images, message in (("0.png", "p.zip", "encrypted"), ("0.tif", ".", "has 3 pages")):
        (tmp_path / "t.csv").write_text(f"file,part\n{name},train\n")
        source = manifest(tmp_path / "t.csv", "train", tmp_path / images, {"image": "file", "split": "part"})
        with pytest.raises(ValueError, match=f"row 0 .*{name}.*{message}"):
            source[0]


def test_archives_are_safe_to_read_from_threads(tmp_path):
    write(tmp_path, "csv")
    for kind in ("zip", "npz"):
        source = load(tmp_path, "all", images=store(tmp_path, kind))
        with ThreadPoolExecutor(8) as pool:
            for row, example in zip(list(range(N)) * 40, pool.map(source.__getitem__, list(range(N)) * 40)):
                assert np.array_equal(example["image"][..., 0], picture(row))


def test_vector_labels_suffixes_and_masks(tmp_path):
    for i in range(4):
        (tmp_path / f"{i}.png").write_bytes(encoded(picture(i)))
        (tmp_path / f"m{i}.png").write_bytes(encoded((picture(i) > 99).astype(np.uint8) * 255))
    rows = [{"id": str(i), "seg": f"m{i}.png" if i else None, "a": i % 2, "b": 1, "both": {"x": i % 2, "y": 0},
             "list": [1, i % 2]} for i in range(4)]
    path = write(tmp_path, "jsonl", rows)
    source = manifest(path, "all", columns={"image": "id", "mask": {"organ": "seg"},
                                            "label": {"ab": ["a", "b"], "both": "both", "list": "list"}})
    assert source[1]["label/ab"].tolist() == [1, 1] and source[1]["label/both"].tolist() == [1, 0]
    assert source[2]["label/list"].tolist() == [1, 0] and source[2]["label/ab"].dtype == np.int8
    assert source.label_names == {"ab": ["a", "b"], "both": ["x", "y"]}
    assert np.array_equal(source[3]["mask/organ"][..., 0], picture(3) > 99)
    batch = next(eval_batches(source, 4))
    assert batch["present"]["mask/organ"].tolist() == [False, True, True, True]
    assert batch["mask/organ"].dtype == np.uint8 and not batch["mask/organ"][0].any()


def test_a_case_in_two_splits_is_an_error_and_rows_of_no_split_are_told(tmp_path):
    rows = [r | {"split": "train val test".split()[i % 4 % 3], "patient": f"p{i}"} for i, r in enumerate(records())]
    options = {"columns": {"text": "report", "case": "patient"}}
    clean = write(tmp_path, "csv", rows, "clean")
    assert [manifest(clean, s, **options).notes for s in ("val", "test")] == [[f"manifest {clean}: 1 of 3 val rows have no text"], []]
    rows[1]["patient"] = rows[3]["patient"] = rows[4]["patient"]
    rows[3]["patient"] += " "  # white space makes no other patient
    shared = write(tmp_path, "csv", rows, "shared")
    with pytest.raises(ValueError, match=r"shared.csv: 1 of 10 cases \('patient'\) have rows in several splits, e.g. row 1 in val, "
                                         "row 3 in train: give all rows"):
        manifest(shared, "test", **options)
    assert len(manifest(shared, "train", **options, shared_cases=True)) == 6
    assert len(manifest(shared, "train", **options, filter={"patient": {"not": ("p4", "p4 ")}})) == 4  # those rows are not read
    rows[0]["split"], rows[2]["split"], rows[6]["split"] = "Trian", None, "Trian"
    lost = write(tmp_path, "jsonl", rows, "lost")
    (note,) = manifest(lost, "train", **options, shared_cases=True).notes
    assert note.endswith("3 of 12 rows are in none of train, val and test: column 'split' holds 'Trian' 2, null 1, did you mean 'train'?")


def test_a_table_of_test_rows_alone_needs_no_training_rows(tmp_path):
    path = write(tmp_path, "csv", [r | {"split": "test", "age": str(i)} for i, r in enumerate(records())])
    source = manifest(path, "test", columns={"tabular": ["age"]})
    assert source[3]["tabular"] == 3 and source.tabular_mean == 0 and source.tabular_std == 1
    with pytest.raises(ValueError, match="no split 'train'"):
        manifest(path, "test", columns={"tabular": ["age"]}, missing="mean")


def test_a_table_of_another_separator_is_named(tmp_path):
    (tmp_path / "t.csv").write_text("image;text;split\na.png;hello;train\n")
    with pytest.raises(ValueError, match="t.csv: its only column is 'image;text;split': cells seem to be separated by ';'; save"):
        Table(tmp_path / "t.csv")


def test_splits_that_share_rows_are_an_error(tmp_path):
    rows = [r | {"split": "train val test".split()[i % 3]} for i, r in enumerate(records())]
    path = write(tmp_path, "csv", rows)
    for splits, said in (({"val": "test"}, "both val .'test'. and test"), ({"val": "train"}, "both val .'train'. and train"),
                         ({"train": ["train", "test"]}, "both train .*and test")):
        for split in {"val", "train"} & set(splits):
            with pytest.raises(ValueError, match=said):
                manifest(path, split, columns={"text": "report"}, splits=splits)
    swapped = {"val": "test", "test": "val"}
    assert manifest(path, "val", columns={"text": "report"}, splits=swapped).rows.tolist() == [2, 5, 8, 11]


@pytest.mark.parametrize("mode", ["RGB", "LA", "RGBA"])
def test_sixteen_bit_color_is_refused_not_cut(tmp_path, mode):
    import struct
    import zlib

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    channels, kind = {"RGB": (3, 2), "LA": (2, 4), "RGBA": (4, 6)}[mode]
    pixels = np.arange(4 * 4 * channels, dtype=">u2").reshape(4, -1) * 60  # 12 bits in use
    raw = b"".join(b"\0" + line.tobytes() for line in pixels)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 16, kind, 0, 0, 0)) + chunk(
        b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    for bits in (8, 16):
        with pytest.raises(ValueError, match="has 16 bits a channel in color; only gray"):
            decode(png, 3, bits)


def test_masks_lie_on_the_pixels_of_their_picture_or_are_refused(tmp_path):
    mask = np.kron(np.arange(6).reshape(3, 2), np.ones((8, 8))).astype(np.uint8)  # 24 high, 16 wide
    turned = (np.array, np.fliplr, lambda a: np.rot90(a, 2), np.flipud, np.transpose, lambda a: np.rot90(a, -1),
              lambda a: np.rot90(a, 2).T, np.rot90)
    (tmp_path / "mask.png").write_bytes(encoded(mask))
    (tmp_path / "other.png").write_bytes(encoded(mask[:7, :7]))
    for kind in ("JPEG", "TIFF"):
        for orientation, turn in enumerate(turned, 1):
            (exif := Image.Exif())[0x0112] = orientation
            Image.fromarray(mask * 40).save(tmp_path / "x.jpg", kind, exif=exif)
            (tmp_path / "upright.png").write_bytes(encoded(turn(mask)))
            path = write(tmp_path, "jsonl", [{"image": "x.jpg", "m": name} for name in ("mask.png", "upright.png", "other.png")])
            for size_hint in (None, 4):
                source = manifest(path, "all", columns={"image": "image", "mask": "m"}, size_hint=size_hint)
                with pytest.raises(BadRow, match=r"row 2 \(line 3\): mask/m is \[7, 7\] and its picture|EXIF orientation"):
                    source[2]
                for row in (0, 1):
                    if orientation in (2, 3, 4):  # whether the mask is turned, nothing tells
                        with pytest.raises(BadRow, match=f"mask/m is of a picture with EXIF orientation {orientation}, and may"):
                            source[row]
                        continue
                    example = source[row]
                    step = 16 // min(example["image"].shape[:2])
                    np.testing.assert_array_equal(example["mask/m"][..., 0], turn(mask)[step // 2::step, step // 2::step])
                    assert example["mask/m"].shape == example["image"].shape and (step > 1) == (size_hint == 4 and kind == "JPEG")
