"""Tables read from CSV, TSV, JSONL or Parquet as columns of Python values, and what can be said of their cells."""

import json
import re
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np

SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
_NULLS = ["", "NA", "N/A", "NaN", "nan", "null", "NULL"]


def find_table(path: str | Path) -> Path:
    """The file itself, or the one metadata.{csv,tsv,jsonl,parquet} of a folder; FileNotFoundError, ValueError."""
    if not str(path):
        raise FileNotFoundError("manifest: no table is named; set path=, e.g. --config.data.main.source.path=table.csv")
    path = Path(path)
    if path.is_dir():
        found = [path / f"metadata{suffix}" for suffix in SUFFIXES if (path / f"metadata{suffix}").is_file()]
        if len(found) != 1:
            names = ", ".join(p.name for p in found) or "none"
            raise FileNotFoundError(f"manifest {path}: a folder must hold exactly one metadata.csv, .tsv, .jsonl or "
                                    f".parquet, found {names}; give the file itself")
        return found[0]
    if not path.is_file():
        near = get_close_matches(path.name, [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else [], 1)
        place = "" if path.is_absolute() else f" in {Path.cwd()}, the working folder"
        raise FileNotFoundError(f"manifest {path}: no such file{place}" + (f"; did you mean {near[0]}?" if near else ""))
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"manifest {path}: the suffix must be one of {', '.join(SUFFIXES)}")
    return path


class Table:
    """Columns of a file, read once: `table[column]` is a list with None for null; asking for a missing one is an error.

    A CSV cell is a str, or None where it is empty and unquoted (or NA, NaN, null); a quoted "" is an empty str.
    """

    def __init__(self, path: Path):
        self.path = path
        self._lines: list[int] | None = None
        suffix = path.suffix.lower()
        self.typed = suffix not in (".csv", ".tsv")
        if suffix != ".parquet":
            _check_text(path)
        if suffix == ".jsonl":
            self._columns, self.length = _read_jsonl(path)
            self.names = list(self._columns)
        else:
            self._arrow = _read_parquet(path) if suffix == ".parquet" else _read_csv(path)
            self._columns, self.length, self.names = {}, self._arrow.num_rows, list(self._arrow.column_names)
        if not self.length:
            raise ValueError(f"manifest {path}: holds no rows")

    def __getitem__(self, name: str) -> list[Any]:
        if name not in self.names:
            near = get_close_matches(name, self.names, 1, 0.5)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            raise ValueError(f"manifest {self.path}: no column {name!r}{hint} It has {', '.join(self.names)}")
        if name not in self._columns:
            cells = self._arrow[name].to_pylist()
            self._columns[name] = [None if isinstance(c, float) and c != c else c for c in cells]
        return self._columns[name]

    def floats(self, name: str) -> np.ndarray | None:
        """A column as f64[n], NaN where null, or None where a cell is no number."""
        import pyarrow.compute

        try:
            if name in self._columns or not hasattr(self, "_arrow"):
                return np.array([np.nan if cell is None else float(cell) for cell in self[name]])
            column = self._arrow[name] if name in self.names else pyarrow.array(self[name])
            column = pyarrow.compute.utf8_trim_whitespace(column) if pyarrow.types.is_string(column.type) else column
            return pyarrow.compute.cast(column, pyarrow.float64()).to_numpy()
        except (TypeError, ValueError, pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError):
            return None

    def where(self, row: int) -> str:
        """File, data row from 0 and, in a text file, the line on which it starts, from 1."""
        if self._lines is None:  # read once, and only where an error message asks
            self._lines = _lines(self.path)
        line = self._lines[row] if row < len(self._lines) else None
        return f"{self.path} row {row}" + (f" (line {line})" if line else "")


def _check_text(path: Path) -> None:
    """Raise ValueError for UTF-16, in which spreadsheets save "Unicode text", and for what is no text."""
    with path.open("rb") as file:
        head = file.read(4096)
    if head[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in head:
        raise ValueError(f"manifest {path}: is UTF-16, or no text at all; save it as UTF-8 (spreadsheets: \"CSV UTF-8\")")


def _read_jsonl(path: Path) -> tuple[dict[str, list], int]:
    columns: dict[str, list] = {}
    count = 0
    with path.open("rb") as file:  # decoded line by line, so that a bad byte has a row
        for number, line in enumerate(file, 1):
            line = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
            if not line.strip():
                continue
            try:
                record = json.loads(line.decode("utf-8"))
            except UnicodeDecodeError as error:
                raise ValueError(f"manifest {path} row {count} (line {number}): not UTF-8 at byte {error.start}; save "
                                 f"the file as UTF-8") from None
            except json.JSONDecodeError as error:
                raise ValueError(f"manifest {path} row {count} (line {number}): not JSON: {error.msg}") from None
            if not isinstance(record, dict):
                raise ValueError(f"manifest {path} row {count} (line {number}): not an object; write one a line")
            for key, value in record.items():
                column = columns.setdefault(key, [])
                if len(column) < count:  # the key is new: the rows before lack it
                    column.extend([None] * (count - len(column)))
                column.append(None if isinstance(value, float) and np.isnan(value) else value)
            count += 1
    for column in columns.values():
        column.extend([None] * (count - len(column)))
    return columns, count


def _read_csv(path: Path) -> Any:
    import pyarrow
    from pyarrow import csv

    parse = csv.ParseOptions(delimiter="\t" if path.suffix.lower() == ".tsv" else ",", newlines_in_values=True)
    try:
        read = csv.ReadOptions(use_threads=False)  # only then do Arrow's messages number the rows
        names = csv.open_csv(path, read, parse).schema.names
        if len(set(names)) != len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"manifest {path}: column {twice!r} appears twice; rename one")
        if len(names) == 1 and (mark := next((m for m in ";\t|" if m in names[0]), None)):
            raise ValueError(f"manifest {path}: its only column is {names[0]!r}: cells seem to be separated by {mark!r}; "
                             + ("name the file .tsv" if mark == "\t" else "save it with commas, or as .tsv with tabs"))
        # Every cell as text: types guessed from the first block of a file break on a later one.
        convert = csv.ConvertOptions(column_types={name: pyarrow.string() for name in names}, null_values=_NULLS,
                                     strings_can_be_null=True, quoted_strings_can_be_null=False)
        table = csv.read_csv(path, read, parse, convert)
        _check_quotes(path, table)
        return table
    except pyarrow.ArrowInvalid as error:
        message = str(error).splitlines()[0].removeprefix("CSV parse error: ")
        numbered = re.search(r"Row #(\d+): (.*)", message)  # counted with the header
        if numbered:
            row = int(numbered[1]) - 2
            counts = re.match(r"Expected \d+ columns, got \d+", numbered[2])  # what follows is the row, with its report and its patient
            why = "not UTF-8; save the file as UTF-8" if "invalid UTF8" in message else \
                f"{counts[0]}; quote a cell that holds the separator" if counts else "damaged; mend or remove it"
            at = _lines(path)[row:row + 1]
            raise ValueError(f"manifest {path} row {row}{f' (line {at[0]})' if at else ''}: {why}") from None
        advice = "; write a header and at least one row" if message == "Empty CSV file" else ""
        raise ValueError(f"manifest {path}: {message}{advice}") from None
    except UnicodeDecodeError:
        raise ValueError(f"manifest {path}: the names of its columns are not UTF-8; save the file as UTF-8") from None


def _check_quotes(path: Path, table: Any) -> None:
    """Raise ValueError where a quote is never closed: Arrow reads all that follows as one cell of the last row."""
    last = table.column(table.num_columns - 1)[-1].as_py() if table.num_rows else None
    if last is not None and "\n" in last:
        with path.open("rb") as file:
            file.seek(max(path.stat().st_size - 4096, 0))
            if not file.read().rstrip().endswith(b'"'):
                at = _lines(path)[table.num_rows - 1:table.num_rows]
                raise ValueError(f"manifest {path} row {table.num_rows - 1}{f' (line {at[0]})' if at else ''}: a quote is not closed, and "
                                 "takes in all that follows; close it, or double it where it is text")


def _read_parquet(path: Path) -> Any:
    import pyarrow
    from pyarrow import parquet

    try:
        return parquet.read_table(path)
    except pyarrow.ArrowInvalid as error:
        raise ValueError(f"manifest {path}: not a readable Parquet file: {str(error).splitlines()[0]}") from None


def _lines(path: Path) -> list[int]:
    """Line on which each data row starts; none for Parquet."""
    if path.suffix.lower() == ".parquet":
        return []
    if path.suffix.lower() == ".jsonl":
        with path.open("rb") as file:
            return [number for number, line in enumerate(file, 1) if line.strip()]
    import csv

    starts, previous = [], 0
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        reader = csv.reader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
        for cells in reader:
            start, previous = previous + 1, reader.line_num
            if cells:
                starts.append(start)
    return starts[1:]  # without the header


# ---- cells

def matches(cell: Any, wanted: Any) -> bool:
    """Whether a cell fits a filter: a value, a list, or {"not": either}; None is null; CSV text meets numbers."""
    if isinstance(wanted, dict) or hasattr(wanted, "items"):
        wanted = dict(wanted.items())
        if set(wanted) != {"not"}:
            raise ValueError(f"filter: {wanted!r}: the only key is 'not'")
        return not matches(cell, wanted["not"])
    if isinstance(wanted, (list, tuple)):
        return any(matches(cell, one) for one in wanted)
    if cell is None or wanted is None:
        return cell is wanted
    if isinstance(cell, str) and not isinstance(wanted, str):
        if isinstance(wanted, bool):
            return cell.strip().lower() in (("true", "1", "yes") if wanted else ("false", "0", "no"))
        try:
            return float(cell) == wanted
        except ValueError:
            return False
    return cell == wanted


def numbers(cells: Sequence[Any], typed: bool) -> np.ndarray | None:
    """Cells as i32 (null -1) or f32 (null NaN), or None where one is not a number. `typed` False parses text (CSV)."""
    if any(isinstance(cell, (list, dict)) for cell in cells):
        return None
    known = [cell for cell in cells if cell is not None]
    if typed and any(isinstance(cell, str) for cell in known) or not known:
        return None
    try:
        values = [_whole(cell) for cell in known]
        kind, null = np.int32, -1
    except ValueError:
        try:
            values = [_real(cell) for cell in known]
        except ValueError:
            return None
        kind, null = np.float32, np.nan
    supply = iter(values)
    return np.array([null if cell is None else next(supply) for cell in cells], kind)


def _whole(cell: Any) -> int:
    """An int as it is written by people: 010 and 1_0, which Python reads as ints too, are names."""
    if isinstance(cell, float) or isinstance(cell, str) and not re.fullmatch(r"\s*[+-]?(0|[1-9]\d*)\s*", cell):
        raise ValueError(f"{cell} is no whole number")  # 1.0 stays a float label: a regression target may be whole by chance
    return int(cell)


def _real(cell: Any) -> float:
    if isinstance(cell, str) and re.search(r"_|^\s*[+-]?0\d", cell):
        raise ValueError(f"{cell} is a name")
    return float(cell)


def vocabulary(cells: Sequence[Any]) -> list[str]:
    """Sorted distinct values as text, nulls left out."""
    return sorted({str(cell) for cell in cells if cell is not None})


def collapsed(cell: Any) -> str:
    """The cell as text, its white space collapsed: what makes two cells one group, or one case. A whole float is written as the integer
    that it was before a null beside it."""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else " ".join(str(cell).split())


def identities(cells: Sequence[Any]) -> np.ndarray:
    """Stable i32 ids of the cells: the rank of the distinct value; a null gets an id of its own, equal to no other.

    Values that differ in white space only are one: texts of the same tokens must not be each other's negatives.
    """
    cells = [None if cell is None else collapsed(cell) for cell in cells]
    rank = {value: i for i, value in enumerate(vocabulary(cells))}
    return np.array([len(rank) + i if cell is None else rank[cell] for i, cell in enumerate(cells)], np.int32)
