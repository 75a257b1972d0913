"""Tables in text files, as programs of all kinds write them: commas, semicolons or tabs, packed or not."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.csv

ENDINGS = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
"""Of the names of such files."""

_BYTE_ORDER_MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))


def stem_of(path: Path) -> str:
    """A file's name without its ending, whatever its form."""
    name = path.name
    ending = next((e for e in sorted(ENDINGS, key=len, reverse=True) if name.lower().endswith(e)), path.suffix)
    return name[: len(name) - len(ending)]


def is_text_file(path: Path) -> bool:
    """Whether it is a table in a text file, by its name."""
    return path.name.lower().endswith(ENDINGS)


def read_text_file(path: Path, needed: str) -> dict[str, pa.Array]:
    """All cells as text; an empty one is null, a quoted empty one is text. The header has a column ``needed``.

    Raises ``ValueError`` (and its kin) for what is no such table, ``OSError``.
    """
    text = _text(path)
    names, separator = _header(text, needed)
    if not any(names):
        raise ValueError("no header")
    if len(set(names)) != len(names):
        raise ValueError("two columns of one name")
    table = pyarrow.csv.read_csv(
        pa.BufferReader(_own_memory(text.encode())),
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True, delimiter=separator),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            null_values=[""],
        ),
    )
    return {name: table.column(index).combine_chunks() for index, name in enumerate(table.column_names)}


def _own_memory(data: bytes) -> pa.Buffer:
    """A copy that Arrow owns. Its threads may hold it when the interpreter ends, and then abort if it is Python's."""
    buffer = pa.allocate_buffer(len(data))
    memoryview(buffer).cast("B")[:] = data
    return buffer


def first_row(path: Path, needed: str) -> dict[str, str]:
    """The cells of the first row by name, if it is a table. Raises ``ValueError``, ``OSError``."""
    text = _text(path)
    names, separator = _header(text, needed)
    return dict(zip(names, next(iter(_rows(text, separator, 1)), []), strict=False))


def _text(path: Path) -> str:
    data = path.read_bytes()
    if data[:2] == b"\x1f\x8b":
        try:
            data = gzip.decompress(data)
        except (EOFError, zlib.error) as error:
            raise ValueError(f"not a whole gzip file: {error}") from error
    encoding = next((name for mark, name in _BYTE_ORDER_MARKS if data.startswith(mark)), "utf-8")
    return data.decode(encoding)


def _header(text: str, needed: str) -> tuple[list[str], str]:
    """The names and what separates them: of the separators that give the needed column, the one that gives most."""
    found = []
    for separator in ",;\t":
        names = next(iter(_rows(text, separator)), [])
        found.append((needed in names, len(names), names, separator))
    _, _, names, separator = max(found, key=lambda item: item[:2])
    return names, separator


def _rows(text: str, separator: str, start: int = 0) -> list[list[str]]:
    """The row at ``start``, if there is one."""
    try:
        return list(islice(csv.reader(io.StringIO(text, newline=""), delimiter=separator), start, start + 1))
    except csv.Error as error:
        raise ValueError(f"not a table: {error}") from error
