"""A data set in its official layout: a few constants and two functions, from which one TFDS builder prepares any of them.

Nothing here or in the files beside it imports TensorFlow.
"""

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from mmrep.data.sources import BadRow
from mmrep.data.stores import describe

Record = dict[str, Any]
SPLITS = ("train", "val", "test")
BEAM_PARTS = 64  # pieces that Beam's workers take of a split


class Dataset(NamedTuple):
    """What a builder is made of.

    features: the namespace `tensorflow_datasets.features` -> {key: feature}. examples: (manual folder, split) -> (key, record) pairs; a
    record may be a function that makes it: Beam's workers then call only their own. manual: the files that the user puts into the manual
    folder, and where they are applied for. layout: the public loader or page that the layout was read from, "" where none could be: the
    set is `unverified`. columns: our keys -> features, what the source `tfds` reads where a config names none. names: feature -> what the
    entries of that vector are (findings), written beside the records.
    """

    name: str
    description: str
    homepage: str
    license: str
    citation: str
    manual: str
    layout: str
    features: Callable[[Any], Mapping[str, Any]]
    examples: Callable[[Path, str], Iterator[tuple[str, Record | Callable[[], Record]]]]
    columns: Mapping[str, Any] = {}
    splits: tuple[str, ...] = SPLITS
    version: str = "1.0.0"
    names: Mapping[str, Sequence[str]] = {}


def prepare(dataset: Dataset, manual: str | Path, data_dir: str | Path, beam: bool = False, flags: Sequence[str] = ()) -> Any:
    """Read the files in `manual` and write the set as array_record files to data_dir/NAME/VERSION; returns its TFDS builder.

    What is there already is kept, and said so. A run that ends early leaves nothing that looks prepared. beam: on Apache Beam (extra
    `beam`), whose workers read every table, and of the rest their own records only, of BEAM_PARTS parts; flags: its pipeline options, such
    as ("--runner=DirectRunner", "--direct_num_workers=8", "--direct_running_mode=multi_processing"), by default one local worker. Raises
    FileNotFoundError, or ValueError, which names the file, or the feature that does not take a record; also where Beam is not installed.
    """
    import tensorflow_datasets as tfds

    if not Path(manual).is_dir():
        raise FileNotFoundError(f"builder {dataset.name}: no folder at {manual}; put there: {dataset.manual}")
    builder = make_builder(dataset, beam)(data_dir=str(data_dir), file_format="array_record")
    if builder.is_prepared():
        print(f"builder {dataset.name}: is there already, so nothing was read; to build it anew, remove {builder.data_path}",
              file=sys.stderr)
    config = tfds.download.DownloadConfig(manual_dir=str(manual), beam_options=_beam_options(flags) if beam else None)
    try:
        builder.download_and_prepare(download_dir=str(manual), download_config=config)
    except (RuntimeError, ValueError, TypeError, ArithmeticError) as error:
        if told := _told(error, dataset.name):
            raise ValueError(told) from None
        raise
    return builder


def _told(error: Exception, name: str) -> str:
    """The one line of an error that is ours, "" where it is passed on as it is: of a worker in another process, of which Beam quotes the
    whole traceback, or of a record that its features do not take, which TFDS quotes whole, with its report."""
    text, mark = str(error), f"builder {name}: "
    if "Failed to encode example" in text:
        at = text.rfind("In <") if "In <" in text else text.rstrip().rfind("\n") + 1
        return f"{mark}a record does not fit the set's features: {' '.join(text[at:].split())[:300]}"
    lines = [line[line.index(mark):] for line in text.splitlines() if mark in line]
    return lines[-1] if lines and isinstance(error, RuntimeError) else ""


def _beam_options(flags: Sequence[str]) -> Any:
    """Beam's pipeline options; without any it would take the command's own arguments for them."""
    try:
        from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError:
        raise ValueError('builder: Beam is not installed: pip install "mmrep[beam]" into an environment of its own, without '
                         "constraints.txt: it wants older versions of Pillow, protobuf and PyArrow") from None
    return PipelineOptions(list(flags))


def make_builder(dataset: Dataset, beam: bool = False) -> type:
    """The TFDS builder class of a data set, not registered: what was prepared opens by its folder."""
    import tensorflow_datasets as tfds

    def info(self: Any) -> Any:
        return tfds.core.DatasetInfo(builder=self, description=dataset.description, homepage=dataset.homepage, citation=dataset.citation,
                                     license=dataset.license, features=tfds.features.FeaturesDict(dict(dataset.features(tfds.features))),
                                     metadata=tfds.core.MetadataDict(names={key: list(of) for key, of in dataset.names.items()}))

    def split_generators(self: Any, manager: Any) -> dict[str, Any]:
        return {split: self._generate_examples(Path(manager.manual_dir), split) for split in dataset.splits}

    def generate_examples(self: Any, folder: Path, split: str) -> Any:
        if not beam:
            return made(dataset, folder, split)
        import apache_beam

        return (f"{split} parts" >> apache_beam.Create(range(BEAM_PARTS)) | f"{split} records" >> apache_beam.FlatMap(
            lambda part: made(dataset, folder, split, part, BEAM_PARTS)))

    return type(tfds.core.GeneratorBasedBuilder)(dataset.name, (tfds.core.GeneratorBasedBuilder,), {
        "name": dataset.name, "VERSION": tfds.core.Version(dataset.version), "MANUAL_DOWNLOAD_INSTRUCTIONS": dataset.manual,
        "_info": info, "_split_generators": split_generators, "_generate_examples": generate_examples}, skip_registration=True)


def made(dataset: Dataset, folder: Path, split: str, part: int = 0, parts: int = 1) -> Iterator[tuple[str, Record]]:
    """Records of a split, every `parts`-th from `part` on. An error names the data set and the record's number, from 1.

    A record whose function raises BadRow, or whose file is missing, is left out, and counted on stderr with the first reason. A BadRow out
    of `examples` itself is an error: a generator ends where it raises, and the rest of the split would be lost without a word.
    """
    examples = dataset.examples(folder, split)
    number, whole = 0, 0
    left_out: list[str] = []
    while True:
        with _named(f"builder {dataset.name}: {split} record {number + 1}"):
            found = next(examples, None)
            record = _called(found[1]) if found is not None and number % parts == part else None
        if found is None:
            break
        if isinstance(record, BadRow):
            left_out.append(f"record {number + 1}: {describe(record)}")
        elif record is not None:
            whole += 1
            yield found[0], record
        number += 1
    told = f"left out {len(left_out)} records that cannot be used" + (f", the first is {left_out[0]}" if left_out else "")
    if not whole and parts == 1:  # TFDS would end with a traceback
        raise ValueError(f"builder {dataset.name}: {split} would be empty: {told}; are all files there? {dataset.manual}")
    if left_out:
        print(f"builder {dataset.name}: {split}: {told}", file=sys.stderr)


def _called(record: Record | Callable[[], Record]) -> Record | BadRow:
    """The record, or what its function makes; where its file is missing or it raises BadRow, that. Messages name no folder: a release's
    folders are its patients."""
    try:
        return record() if callable(record) else record
    except BadRow as error:
        return BadRow(_nameless(str(error)))
    except FileNotFoundError as error:
        return BadRow(f"no file {Path(error.filename).name}" if error.filename else _nameless(str(error)))
    except ValueError as error:
        raise ValueError(_nameless(str(error))) from None


def _nameless(text: str) -> str:
    """The text with the last part of a path in the place of it, but of addresses."""
    return re.sub(r"(?<![\w:/])[^\s'\"()\[\]]*/([^\s/'\"()\[\]]+)", lambda match: match[0] if "://" in match[0] else match[1], text)


@contextmanager
def _named(where: str) -> Iterator[None]:
    """Errors of a file or its content, or of a package that reading it takes, with `where` before them."""
    try:
        yield
    except KeyError:  # it may be a patient's id
        raise ValueError(f"{where}: a table names what another does not have; download the tables again, of one release") from None
    except (FileNotFoundError, ValueError, ImportError) as error:
        kind = FileNotFoundError if isinstance(error, FileNotFoundError) else ValueError
        raise kind(f"{where}: {describe(error)}") from None
