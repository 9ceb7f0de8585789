"""Parses tables of comma-, semicolon- or tab-separated values as people and spreadsheets write them."""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from diffmae_video.errors import InputError

DELIMITERS = ("\t", ",", ";")


def header_of(text: str) -> list[str]:
    """The fields of the first line, in lower case."""
    line = text.partition("\n")[0]
    fields = [field.strip(' "\r').lower() for field in line.split(delimiter_of(text))]
    while len(fields) > 1 and not fields[-1]:  # a comma at the end of the line
        fields.pop()
    return fields


def delimiter_of(text: str) -> str:
    """The delimiter that the first line uses."""
    line = text.partition("\n")[0]
    return next((delimiter for delimiter in DELIMITERS if delimiter in line), ",")


def table_rows(
    path: str | Path, text: str, columns: Sequence[str], delimiter: str, has_header: bool = True
) -> Iterator[tuple[str, dict[str, str]]]:
    """The rows of a table, each with its place for messages: fields by column.

    Blanks around fields that are not quoted, empty rows and empty fields at the end of a row are dropped.

    Args:
        path: of the table, for messages.
        text: its content.
        columns: the names of its columns.
        delimiter: between fields.
        has_header: whether the first line names the columns.

    Raises:
        InputError: a row with more or fewer fields than columns, or an unbalanced quote.
    """
    lines: list[str] = []  # of the current row, which may hold quoted line breaks

    def consumed() -> Iterator[str]:
        for line in io.StringIO(text):
            lines.append(line)
            yield line

    rows = csv.reader(consumed(), delimiter=delimiter, strict=True, skipinitialspace=True)
    try:
        for row in rows:
            where = f"{path}: line {rows.line_num}"
            is_quoted = '"' in "".join(lines)
            lines.clear()
            if has_header:
                has_header = False
                continue
            fields = row if is_quoted else [field.strip() for field in row]
            while len(fields) > len(columns) and not fields[-1]:
                fields.pop()
            if not any(fields):
                continue
            if len(fields) != len(columns):
                expected = f"{len(columns)} ({','.join(columns)})"
                raise InputError(f"{where}: has {len(fields)} fields, expected {expected}")
            yield where, dict(zip(columns, fields, strict=True))
    except csv.Error as error:
        raise InputError(f"{path}: line {rows.line_num}: {error}; is a quote missing?") from error
