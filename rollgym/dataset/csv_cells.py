"""Values as the cells of a CSV file, exactly: integers stay integers, floats read back to the same bits.

``3``, ``3.0``, ``1e-07``, ``NaN``, ``inf``, ``true``, ``"text"``. No value is an empty cell, an empty text ``""``.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc


def texts(values: pa.Array) -> pa.Array:
    """Each value as text; null stays null. Whole columns at once. Text itself is not quoted."""
    kind = values.type
    if pa.types.is_string(kind):
        return values
    if pa.types.is_float16(kind):
        values, kind = values.cast(pa.float32()), pa.float32()
    found = pc.cast(values, pa.string())
    if pa.types.is_floating(kind):
        # Arrow writes the shortest text that reads back to the same bits, but 1 for 1.0 and nan for NaN.
        whole = pc.match_substring_regex(found, "^-?[0-9]+$")
        found = pc.if_else(whole, pc.binary_join_element_wise(found, pa.scalar(".0"), pa.scalar("")), found)
        found = pc.if_else(pc.equal(found, "nan"), pa.scalar("NaN"), found)
    return found


def quoted(values: pa.Array) -> pa.Array:
    """Text as cells: in quotes, so that commas and line ends are part of it."""
    mark = pa.scalar('"')
    return pc.binary_join_element_wise(mark, pc.replace_substring(values, '"', '""'), mark, pa.scalar(""))


def cells(values: pa.Array) -> pa.Array:
    """A column's cells; a missing value is an empty one."""
    found = quoted(values) if pa.types.is_string(values.type) else texts(values)
    return pc.fill_null(found, "")


def csv_lines(table: pa.Table) -> pa.Array:
    """The rows of a table, each as a line without its end."""
    columns = [cells(column.combine_chunks()) for column in table.columns]
    return pc.binary_join_element_wise(*columns, pa.scalar(","))


def header_line(names: list[str]) -> str:
    """The first line. Names that hold a comma, a quote or a line end are quoted."""
    plain = ['"' + name.replace('"', '""') + '"' if any(c in name for c in ',"\n\r') else name for name in names]
    return ",".join(plain)
