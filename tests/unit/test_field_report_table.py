"""The table of tests/README.md has every field report, and the tests that a row cites name the row."""

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
ROWS = range(1, 31)
NAMED = re.compile(r"Field report (\d+)\b")


def table():
    """(row, files that test it) for each line of the table."""
    text = (TESTS / "README.md").read_text(encoding="utf-8")
    section = text.split("## What users of comparable packages reported\n")[1].split("\n## ")[0]
    lines = [line.strip("|\n ").split("|") for line in section.splitlines() if re.match(r"\| \d", line)]
    return [(int(cells[0]), re.findall(r"`([\w/]+\.py)`", cells[-1])) for cells in lines]


def rows_named_in(path):
    """Rows that the docstrings of a file's tests name."""
    tests = [node for node in ast.walk(ast.parse(path.read_text()))
             if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]
    return {int(row) for test in tests for row in NAMED.findall(ast.get_docstring(test) or "")}


def test_the_table_has_every_row_once():
    assert [row for row, _ in table()] == list(ROWS)


@pytest.mark.parametrize("row", ROWS)
def test_a_test_names_it(row):
    """Also, no test names a row that does not cite the test."""
    cited = dict(table())[row]
    naming = [str(path.relative_to(TESTS)) for path in TESTS.rglob("test_*.py") if row in rows_named_in(path)]
    assert cited and sorted(cited) == sorted(naming)


def test_no_other_row_is_named():
    assert set().union(*map(rows_named_in, TESTS.rglob("test_*.py"))) == set(ROWS)
