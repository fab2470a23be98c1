"""Pages that say what idsync does name the tests that show it: every one is there, and no line is left open."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FEATURES = 35
FAULTS = 27
TEST = re.compile(r"`(tests/[^`]+)`")


def lines_of(page: str) -> list[list[str]]:
    """The lines of a page's one table, cell by cell, without its head."""
    rows = [line for line in (ROOT / "docs" / page).read_text().splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


@cache
def names_in(file: Path) -> frozenset[str]:
    """The tests of a file."""
    tree = ast.parse(file.read_text())
    return frozenset(one.name for one in tree.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef))


def missing_tests(cell: str) -> list[str]:
    """What a cell names and is not there; a case in brackets is looked for by `make prove`, which runs it."""
    found = []
    for test in TEST.findall(cell):
        file, _, name = test.partition("::")
        path = ROOT / file
        if not path.is_file() or name.partition("[")[0] not in names_in(path):
            found.append(test)
    return found


@pytest.mark.parametrize("page", ["comparison.md", "peers-bugs.md"])
def test_every_test_that_a_page_names_is_there(page: str) -> None:
    """Who renames a test renames it there too."""
    lines = lines_of(page)
    assert [test for line in lines for test in missing_tests(line[-1])] == []
    assert [line for line in lines if "" in line or len(line) != len(lines[0])] == []


def test_every_feature_is_compared_and_shown_or_said_to_be_missing() -> None:
    """Ours stands beside those of four others."""
    lines = lines_of("comparison.md")
    assert len({line[0] for line in lines}) == len(lines) == FEATURES
    assert {len(line) for line in lines} == {7}
    assert [line[0] for line in lines if not TEST.search(line[-1]) and line[-1] != "not here"] == []


def test_every_fault_of_others_is_ruled_out_or_cannot_apply() -> None:
    """With the reason why it cannot."""
    lines = lines_of("peers-bugs.md")
    assert {line[0] for line in lines} == {str(number) for number in range(1, FAULTS + 1)}
    assert [line[0] for line in lines if not TEST.search(line[-1]) and "cannot apply: " not in line[-1]] == []


def test_test_that_is_not_there_is_missed() -> None:
    """In a file that is there, and in one that is not."""
    here = "tests/test_proved.py"
    assert missing_tests(f"`{here}::test_test_that_is_not_there_is_missed`") == []
    for test in (f"{here}::test_nothing", "tests/test_nothing.py::test_nothing"):
        assert missing_tests(f"`{test}`") == [test]
