"""TFDS datasets as sources, without TensorFlow: random access to array_record files."""

import json
import os
import re
import zlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mmrep.data import fast, images
from mmrep.data.example import MODALITIES, Example, fields_among
from mmrep.data.sources import BadRow
from mmrep.data.stores import describe
from mmrep.data.uncertain import check_policy, label_name, resolve


class Tfds:
    """Source over one split of a TFDS data source; `label_names` {label: class names}."""

    def __init__(self, records: Any, columns: Mapping[str, Any], where: str, label_names: dict[str, list[str]],
                 decode: Callable | None = None, uncertain: str | None = None, numbers: Callable[[], np.ndarray] | None = None,
                 written: str = ""):
        self.label_names, self._decode, self.notes, self._uncertain = label_names, decode, [], uncertain
        self._records, self._columns, self._where, self._numbers, self._written = records, dict(columns), where, numbers, written
        self.fields = fields_among(columns)
        self._cases: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self._records)

    @property
    def cases(self) -> np.ndarray | None:
        """The case of every row, i32[n], for which all records are read once, ever; None where no column names it."""
        if "case" not in self._columns:
            return None
        if self._cases is None:
            values = self._numbers() if self._numbers else [self._records[row].get(self._columns["case"]) for row in range(len(self))]
            column = self._columns["case"]
            self._cases = np.array([self._number(row, "case", column, value) for row, value in enumerate(values)], np.int32)
        return self._cases

    def where(self, row: int) -> str:
        """What an error message calls a row."""
        return f"{self._where} row {row}"

    def __getitem__(self, row: int) -> Example:
        record = self._records[int(row)]

        def get(column: str) -> Any:
            if column not in record:
                raise ValueError(f"{self._where}: no feature {column!r}; it has {', '.join(sorted(record))}")
            return record[column]

        example: Example = {}
        for key, column in self._columns.items():
            if key == "text":
                texts = [self._text(row, c, get(c)) for c in ([column] if isinstance(column, str) else column)]
                text = texts[0] if len(texts) == 1 else "\n".join(part for part in texts if part)
                if text:  # TFDS has no null: an empty text stands for an absent one
                    example["text"] = text
            elif key == "tabular":
                example[key] = np.asarray([get(c) for c in column], np.float32)
                if not np.isfinite(example[key]).all():
                    bad = column[int(np.argmin(np.isfinite(example[key])))]
                    raise ValueError(f"{self.where(row)}: tabular feature {bad!r} is NaN or infinite; mend it in the prepared dataset")
            elif key == "category":
                example[key] = np.asarray([get(c) for c in column], np.int32)
            elif key == "label":
                example |= dict(self._label(name, get(c)) for name, c in column.items())
            elif key in ("group", "case"):
                example[key] = self._number(row, key, column, get(column))
            elif key == "image" and self._decode is not None:
                value = get(column)
                try:
                    example[key] = [self._decode(one) for one in value] if isinstance(value, list) else self._decode(value)
                except (ValueError, OSError) as error:
                    raise BadRow(f"{self.where(row)}: image {describe(error)}") from None
            else:
                example[key] = np.asarray(get(column[0] if isinstance(column, (tuple, list)) and len(column) == 1 else column))
                if example[key].dtype.kind == "f" and not np.isfinite(example[key]).all():
                    raise BadRow(f"{self.where(row)}: {key} has values that are NaN or infinite; mend it in the prepared dataset")
        for key in [k for k in example if k.startswith("mask/") and isinstance(example.get("image"), np.ndarray)]:
            shape, of = example["image"].shape, key.split("/")[1]
            if of != "image" and (of in MODALITIES or example[key].ndim != 3):  # of a volume, of numbers
                continue
            try:
                stored = images.stored_size(record[self._columns["image"]], self._decode.keywords["max_pixels"]) if self._decode else (
                    *shape[:2], 1)
                example[key] = images.fit_mask(example[key], shape, stored)
            except (ValueError, OSError) as error:
                raise BadRow(f"{self.where(row)}: {key} {describe(error)}") from None
        return example

    def _number(self, row: int, key: str, column: str, value: Any) -> np.int32:
        number = np.asarray(value)
        if number.shape or number.dtype.kind not in "iu" or not -2**31 <= number < 2**31:
            raise ValueError(f"{self.where(row)}: {key} {column!r} holds {value!r}, which is no 32-bit number; prepare the dataset with "
                             "its values numbered from 0")
        return np.int32(number)

    def _text(self, row: int, column: str, value: Any) -> Any:
        """A str, or a list of them, of a text feature or a sequence of texts."""
        if isinstance(value, (list, np.ndarray)) and np.ndim(value) == 1:
            return [self._text(row, column, one) for one in value]
        text = value.decode("utf-8") if isinstance(value, bytes) else value
        if not isinstance(text, str):
            raise ValueError(f"{self.where(row)}: feature {column!r} is no text but {type(value).__name__} of shape {np.shape(value)}")
        return text

    def _label(self, name: str, value: Any) -> tuple[str, np.ndarray]:
        """A label's key and value; i8 findings [K] by the policy for uncertain ones."""
        value = np.asarray(value)
        if value.dtype != np.int8 or value.ndim != 1:
            return f"label/{name}", value
        return f"label/{label_name(name, self._uncertain)}", resolve(value, self._uncertain)

    def fingerprint(self) -> str:
        """The set's version, the records and bytes of its shards, the rows, and what decodes the pictures, where that is a choice."""
        quick = self._decode is not None and self._decode.keywords["how"] == "fast"
        return self._written + (f"/{fast.library('fast')}" if quick else "")


def _undecoded() -> Any:
    """TFDS's SkipDecoding, of a sequence of pictures, too, which it does not know without TensorFlow."""
    import tensorflow_datasets

    class SkipEach(tensorflow_datasets.decode.SkipDecoding):
        def decode_batch_example_np(self, example: Any, **_: Any) -> list:
            return list(example)

    return SkipEach()


def _column(builder: Any, split: str, column: str) -> np.ndarray:
    """One feature of every record of a split, none else decoded. It is kept beside the records where that folder can be written to: of a
    large set, reading it takes hours."""
    import tensorflow_datasets

    kept = Path(builder.data_path) / f".{column}-{re.sub(r'[^A-Za-z0-9]+', '_', split)}-{zlib.crc32(split.encode()):08x}.npy"
    count = builder.info.splits[split].num_examples
    if kept.is_file() and len(found := np.load(kept, allow_pickle=False)) == count:
        return found
    skip = {key: tensorflow_datasets.decode.SkipDecoding() for key, of in builder.info.features.items()
            if key != column and not isinstance(of, tensorflow_datasets.features.Sequence)}
    skip |= {key: _undecoded() for key in builder.info.features if key != column and key not in skip}
    records = builder.as_data_source(split=split, decoders=skip)
    found = np.array([records[row].get(column) for row in range(len(records))])
    if found.dtype != object:
        try:
            part = kept.with_name(f"{kept.name}.part{os.getpid()}")
            with part.open("wb") as file:
                np.save(file, found)
            part.replace(kept)
        except OSError:  # a shared folder that is not ours
            pass
    return found


def _written(builder: Any, split: str) -> str:
    """A digest of what was prepared: version, records and bytes of the shards, and which of them a split reads."""
    info = builder.info.splits[split.split("[")[0]]
    rows = [(i.filename, i.skip, i.take) for i in builder.info.splits[split].file_instructions]
    told = [str(builder.info.version), list(map(int, info.shard_lengths)), int(info.num_bytes), [(Path(f).name, a, b) for f, a, b in rows]]
    return f"{zlib.crc32(json.dumps(told).encode()):08x}"


def _overlap(builder: Any, a: str, b: str) -> bool:
    """Whether two splits share rows of a file."""
    def spans(split: str) -> list[tuple[str, int, float]]:
        return [(f.filename, f.skip, f.skip + f.take if f.take >= 0 else np.inf) for f in builder.info.splits[split].file_instructions]

    return any(x[0] == y[0] and x[1] < y[2] and y[1] < x[2] for x in spans(a) for y in spans(b))


def tfds(dataset: str, split: str, data_dir: str | Path | None = None, columns: Mapping[str, Any] | None = None,
         splits: Mapping[str, str] | None = None, decode: str = "exact", size_hint: int | None = None,
         max_pixels: int | None = None, uncertain: str | None = None) -> Tfds:
    """Source over a prepared TFDS dataset stored as array_record files; TensorFlow is not needed or imported.

    dataset: its TFDS name, such as "mnist" or "mine/config:1.0.0". columns: our keys -> features, {"image": "image",
    "text": "caption" (or several, joined by newlines), "label": {"finding": "label"}, "tabular": ["age"], "category": ["sex"],
    "group": "patient", "case": "patient"}; by default those of our builder of that name. A sequence of pictures, or of texts, is a list:
    several samples (`transforms.samples`). A "mask/NAME" of the image has its size (`images.fit_mask`), else the row is a BadRow. splits:
    renames, e.g. {"val": "validation"}. uncertain: what the -1 of a label of findings
    i8[K] counts as, "zeros", "ones" or "ignore", which its name then tells (`uncertain.resolve`). decode ("exact" | "fast"), size_hint,
    max_pixels: as for `images.decode`, of pictures of 1 or 3 channels. Raises FileNotFoundError if it is not prepared, ValueError if the
    split does not exist.
    """
    import tensorflow_datasets

    if decode not in ("exact", "fast"):
        raise ValueError(f"tfds {dataset}: decode {decode!r} is not 'exact' or 'fast'")
    try:
        check_policy(uncertain)
    except ValueError as error:
        raise ValueError(f"tfds {dataset}: {error}") from None
    from mmrep.data.builders import DATASETS

    ours = DATASETS.get(dataset.partition("/")[0].partition(":")[0])
    columns = columns or (ours.columns if ours else {"image": "image", "label": {"label": "label"}})
    own = Path(data_dir or tensorflow_datasets.core.constants.DATA_DIR) / dataset / ours.version if ours and dataset == ours.name else None
    try:
        # by its folder: TFDS has a builder of its own under some of our names, such as chexpert, of another version
        builder = tensorflow_datasets.builder_from_directory(own) if own is not None and own.is_dir() else tensorflow_datasets.builder(
            dataset, data_dir=data_dir, file_format="array_record")
    except tensorflow_datasets.core.registered.DatasetNotFoundError:
        advice = f"; write it: mmrep data build {dataset} --manual-dir ... --data-dir ..." if ours else ", nor a builder of that name"
        raise FileNotFoundError(f"tfds {dataset}: no such dataset under {data_dir or 'the default data_dir'}{advice}") from None
    if not builder.is_prepared():
        advice = f"write it: mmrep data build {dataset} --manual-dir ... --data-dir ..." if ours else \
            "run its builder's download_and_prepare with file_format='array_record'"
        raise FileNotFoundError(f"tfds {dataset}: not prepared under {data_dir or 'the default data_dir'}; {advice}")
    named = {name: (splits or {}).get(name, name) for name in ("train", "val", "test")}
    wanted = (splits or {}).get(split, split)
    for name, other in named.items():
        if split in named and name != split and other == wanted:
            raise ValueError(f"tfds {dataset}: splits gives {split} and {name} the same rows, {wanted!r}; divide it, e.g. "
                             "'train[:90%]' and 'train[90%:]'")
    if wanted.split("[")[0] not in builder.info.splits:
        raise ValueError(f"tfds {dataset}: no split {wanted!r}; it has {', '.join(sorted(builder.info.splits))} "
                         f"(rename with splits={{{split!r}: ...}})")
    for name, other in named.items() if split in named else ():
        if name != split and other.split("[")[0] in builder.info.splits and _overlap(builder, wanted, other):
            raise ValueError(f"tfds {dataset}: splits gives {split} = {wanted!r} and {name} = {other!r}, which share rows; divide them, "
                             "e.g. 'train[:90%]' and 'train[90%:]'")
    features = builder.info.features
    classes = {key: list(features[column].names) for key, column in columns.get("label", {}).items()
               if column in features and getattr(features[column], "names", None)}
    vectors = dict(builder.info.metadata or {}).get("names", {})
    classes |= {label_name(key, uncertain if features[column].np_dtype == np.int8 else None): list(vectors[column])
                for key, column in columns.get("label", {}).items() if column in features and column in vectors}
    # TFDS would take OpenCV where it is installed, else Pillow, and turn no picture.
    image = features[columns["image"]] if columns.get("image") in features else None
    several = isinstance(image, tensorflow_datasets.features.Sequence)
    image = image.feature if several else image
    pixels = isinstance(image, tensorflow_datasets.features.Image) and image.shape[-1] in (1, 3) and image.np_dtype in (np.uint8, np.uint16)
    read = partial(images.decode, channels=image.shape[-1], bits=8 * np.dtype(image.np_dtype).itemsize, size_hint=size_hint, how=decode,
                   max_pixels=max_pixels) if pixels else None
    skip = {columns["image"]: _undecoded() if several else tensorflow_datasets.decode.SkipDecoding()} if pixels else None
    source = Tfds(builder.as_data_source(split=wanted, decoders=skip), columns, f"tfds {dataset} {wanted}", classes, read, uncertain,
                  lambda: _column(builder, wanted, columns["case"]), _written(builder, wanted))
    if split == "train":  # once is enough
        source.notes += fast.notes(decode)
        source.notes += [f"tfds {dataset}: {key}: uncertain findings (-1) count as unknown; 'uncertain': 'zeros' or 'ones' in the source "
                         "counts them" for key, column in columns.get("label", {}).items()
                         if uncertain is None and "mentioned" in vectors and column in vectors]
    return source
