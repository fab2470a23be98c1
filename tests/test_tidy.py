"""The law that no linter knows: budgets, words, and what may stand in a file at all.

A check takes a file's path (from the root, with slashes) and its text, and yields its complaints.
A broken budget is a design question, not a number to raise.
"""

import ast
import os
import re
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parents[1]

FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 70
PROTOCOL_VERBS_MAX = 8
PACKAGE_FILES_MAX = 12
DECISION_LINES_MAX = 30

# Written in pieces, so that this file obeys its own law.
REGISTRIES = tuple(
    ".".join(labels)
    for labels in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("npmjs", "org"),
        ("npmjs", "com"),
        ("npmmirror", "com"),
        ("yarnpkg", "com"),
        ("crates", "io"),
        ("golang", "org"),
    )
)
UNFINISHED = re.compile(r"\b({})\b".format("|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X"))))
MACHINE_PATH = re.compile(r"(?<![\w.~}-])/(work|root|home)/")

BANNED_WORDS = frozenset(
    {
        "manager",
        "managers",
        "helper",
        "helpers",
        "util",
        "utils",
        "utility",
        "utilities",
        "misc",
        "info",
        "dao",
    }
)
BANNED_VERBS = frozenset({"handle", "process"})
WAYS_OUT = frozenset({"skip", "skipif", "skipTest", "SkipTest", "xfail", "importorskip"})

Check = Callable[[str, str], Iterator[str]]


# --- what may stand in any file -----------------------------------------------------------------------


def names_no_registry(path: str, text: str) -> Iterator[str]:
    """Refuse the host of a package registry: where packages come from is each machine's own matter."""
    for number, line in enumerate(text.lower().splitlines(), 1):
        for host in REGISTRIES:
            if host in line:
                yield f"{path}:{number}: names the registry host {host}; link to the project itself instead"


def names_no_machine_path(path: str, text: str) -> Iterator[str]:
    """Refuse absolute paths that exist on one machine only."""
    for number, line in enumerate(text.splitlines(), 1):
        if found := MACHINE_PATH.search(line):
            yield f"{path}:{number}: {found[0]}... is a path of one machine; write it from the repository"


# --- Python -------------------------------------------------------------------------------------------


def keeps_file_budget(path: str, text: str) -> Iterator[str]:
    """Hold a file to its budget of lines."""
    if (lines := len(text.splitlines())) > FILE_LINES_MAX:
        yield f"{path}: {lines} lines (at most {FILE_LINES_MAX}); it holds more than one idea: split it"


def keeps_function_budget(path: str, text: str) -> Iterator[str]:
    """Hold every function to its budget of lines, docstring included."""
    for node in ast.walk(ast.parse(text, path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES_MAX:
                yield f"{path}:{node.lineno}: {node.name} has {lines} lines (at most {FUNCTION_LINES_MAX})"


def keeps_protocol_budget(path: str, text: str) -> Iterator[str]:
    """Hold every Protocol to its budget of public verbs."""
    for node in ast.walk(ast.parse(text, path)):
        if isinstance(node, ast.ClassDef) and any(_last_name(base) == "Protocol" for base in node.bases):
            verbs = [
                part.name
                for part in node.body
                if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef) and not part.name.startswith("_")
            ]
            if len(verbs) > PROTOCOL_VERBS_MAX:
                yield (
                    f"{path}:{node.lineno}: {node.name} has {len(verbs)} verbs (at most {PROTOCOL_VERBS_MAX})"
                    f" and is more than one port: {', '.join(verbs)}"
                )


def is_finished(path: str, text: str) -> Iterator[str]:
    """Refuse marks of unfinished work: it is an issue, or it is done."""
    for number, line in enumerate(text.splitlines(), 1):
        if found := UNFINISHED.search(line):
            yield f"{path}:{number}: {found[0]}: finish it, or open an issue"


def leaves_no_way_out(path: str, text: str) -> Iterator[str]:
    """Refuse tests that may choose not to run, or to fail: a missing service is a failure."""
    for node in ast.walk(ast.parse(text, path)):
        match node:
            case ast.Attribute(attr=name) | ast.alias(name=name) if name in WAYS_OUT:
                yield f"{path}:{node.lineno}: {name}: a test runs and passes, or it is deleted"
            case _:
                pass


def catches_only_what_it_expects(path: str, text: str) -> Iterator[str]:
    """Refuse handlers that would swallow our own bugs; only worker.py survives the unforeseen.

    `except BaseException` may tidy up where it ends by raising again, for it swallows nothing.
    """
    if path == "src/idsync/worker.py":
        return
    for node in ast.walk(ast.parse(text, path)):
        if not isinstance(node, ast.ExceptHandler):
            continue
        caught = {_last_name(kind) for kind in _kinds(node)}
        raises_again = isinstance(last := node.body[-1], ast.Raise) and last.exc is None
        if "Exception" in caught or (not raises_again and (not caught or "BaseException" in caught)):
            yield f"{path}:{node.lineno}: catches everything; name the errors that are expected here"


def uses_our_words(path: str, text: str) -> Iterator[str]:
    """Refuse names that say nothing; DESIGN §2 has the words."""
    stem = PurePosixPath(path).stem
    for line, name, is_function in [(1, stem, False), *_defined_names(ast.parse(text, path))]:
        words = [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)]
        bad = BANNED_WORDS.intersection(words)
        if is_function:
            bad |= BANNED_VERBS.intersection(words[:1])
        if len(words) > 1:
            bad |= {"data"}.intersection(words[-1:])
        if bad:
            yield f"{path}:{line}: the name {name} uses {', '.join(sorted(bad))}; say what it is or does"


def _kinds(handler: ast.ExceptHandler) -> list[ast.expr]:
    """Give the exceptions that a handler names: none for a bare one."""
    match handler.type:
        case None:
            return []
        case ast.Tuple(elts=kinds):
            return kinds
        case kind:
            return [kind]


def _last_name(node: ast.expr) -> str:
    """Give the last name of `Name`, `module.Name` or `Name[...]`, else nothing."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case ast.Subscript(value=value):
            return _last_name(value)
        case _:
            return ""


def _defined_names(tree: ast.AST) -> Iterator[tuple[int, str, bool]]:
    """Give (line, name, is a function) of all that a module defines, which leaves out what it only uses."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield node.lineno, name, True
            case ast.ClassDef(name=name) | ast.arg(arg=name) | ast.Name(id=name, ctx=ast.Store()):
                yield node.lineno, name, False
            case _:
                pass


# --- SQL and decisions --------------------------------------------------------------------------------


def begins_with_its_purpose(path: str, text: str) -> Iterator[str]:
    """Demand a first line that says what the statement is for."""
    if not re.match(r"-- \S", text):
        yield f'{path}:1: begin with "-- " and the purpose, and the isolation it relies on'


def holds_one_statement(path: str, text: str) -> Iterator[str]:
    """Demand one statement a file; a migration is one step in several."""
    if "migrations" not in PurePosixPath(path).parts and (count := _count_statements(text)) != 1:
        yield f"{path}: holds {count} statements; a file is one verb, so give each its own"


def _count_statements(sql: str) -> int:
    """Count SQL statements; a semicolon in a string, a comment or the body of a trigger or a function ends none."""
    count, statement = 0, ""
    for piece in re.split("(;)", re.sub(r"(\$\w*\$).*?\1", "''", sql, flags=re.DOTALL)):
        statement += piece
        if sqlite3.complete_statement(statement):
            count, statement = count + 1, ""
    rest = re.sub(r"--[^\n]*|/\*.*?\*/", "", statement, flags=re.DOTALL)
    return count + bool(rest.strip())


def is_a_short_decision(path: str, text: str) -> Iterator[str]:
    """Hold a decision record to its name and its budget."""
    if not re.fullmatch(r"\d{4}-[a-z0-9-]+\.md", PurePosixPath(path).name):
        yield f"{path}: a decision is named NNNN-title.md"
    if (lines := len(text.splitlines())) > DECISION_LINES_MAX:
        yield f"{path}: {lines} lines (at most {DECISION_LINES_MAX}): context, choice, rejected, consequence"


# --- the tree -----------------------------------------------------------------------------------------


def read_tree(pattern: str) -> Iterator[tuple[str, str]]:
    """Give (path, text) of every text file whose path matches, except what .gitignore names.

    The tree is walked rather than asked from git, which a fresh machine may not have.
    """
    lines = (ROOT / ".gitignore").read_text().splitlines()
    ignored = [".git", *(line.strip("/") for line in lines if line and not line.startswith("#"))]

    def is_ignored(name: str) -> bool:
        return any(fnmatch(name, pattern) for pattern in ignored)

    for folder, folders, files in os.walk(ROOT):
        folders[:] = sorted(name for name in folders if not is_ignored(name))
        for name in sorted(files):
            path = Path(folder, name).relative_to(ROOT).as_posix()
            if not is_ignored(name) and re.fullmatch(pattern, path):
                try:
                    yield path, (ROOT / path).read_text(encoding="utf-8")
                except UnicodeDecodeError:
                    continue


OUR_PYTHON = r"(src|tests|proofs|bench|examples|docs)/.*\.py"

LAW: tuple[tuple[str, Check], ...] = (
    (r".*", names_no_registry),
    (r".*", names_no_machine_path),
    (OUR_PYTHON, keeps_file_budget),
    (OUR_PYTHON, keeps_function_budget),
    (OUR_PYTHON, uses_our_words),
    (r"(src|tests)/.*", is_finished),
    (r"(src|tests)/.*\.py", leaves_no_way_out),
    (r"src/.*\.py", keeps_protocol_budget),
    (r"src/.*\.py", catches_only_what_it_expects),
    (r".*\.sql", begins_with_its_purpose),
    (r"src/.*\.sql", holds_one_statement),
    (r"docs/decisions/.*", is_a_short_decision),
)


@pytest.mark.parametrize(("pattern", "check"), LAW, ids=[check.__name__ for _, check in LAW])
def test_every_file_keeps_the_law(pattern: str, check: Check) -> None:
    """No file of the repository draws a complaint."""
    complaints = [complaint for path, text in read_tree(pattern) for complaint in check(path, text)]
    assert not complaints, "\n" + "\n".join(complaints)


def test_no_package_has_too_many_files() -> None:
    """A package is small enough to be seen at once."""
    sizes = Counter(str(PurePosixPath(path).parent) for path, _ in read_tree(r"src/.*\.py"))
    crowded = {package: size for package, size in sizes.items() if size > PACKAGE_FILES_MAX}
    assert not crowded, f"more than {PACKAGE_FILES_MAX} files in one package; group them: {crowded}"


def test_walk_sees_our_files_and_no_others() -> None:
    """The law is not kept by looking at nothing, nor broken by what was installed."""
    paths = {path for path, _ in read_tree(".*")}
    assert {
        "Makefile",
        ".ci/run",
        "requirements/run.txt",
        "src/idsync/__init__.py",
        "tests/test_tidy.py",
    } <= paths
    assert not {path for path in paths if path.startswith((".git/", ".venv/")) or "node_modules" in path}


def _function_of(lines: int) -> str:
    return "def f():\n" + "    pass\n" * (lines - 1)


def _protocol_of(verbs: int) -> str:
    return "class P(Protocol):\n    def _own(self): ...\n" + "".join(
        f"    def v{number}(self): ...\n" for number in range(verbs)
    )


TRIGGER = "-- why\nCREATE TRIGGER t AFTER INSERT ON x BEGIN\n  SELECT ';'; -- a; b\n  SELECT 2;\nEND;\n"

GOOD: tuple[tuple[Check, str, str], ...] = (
    (names_no_machine_path, "README.md", "see ../home/x and https://example.com/root/"),
    (keeps_file_budget, "src/a.py", "x\n" * 400),
    (keeps_function_budget, "src/a.py", _function_of(70)),
    (keeps_protocol_budget, "src/a.py", _protocol_of(8)),
    (is_finished, "src/a.py", "XXXX"),
    (leaves_no_way_out, "tests/a.py", "skipped = 1  # skip"),
    (catches_only_what_it_expects, "src/idsync/worker.py", "try: f()\nexcept Exception: pass"),
    (catches_only_what_it_expects, "src/a.py", "try: f()\nexcept BaseException:\n  undo()\n  raise"),
    (catches_only_what_it_expects, "src/a.py", "try: f()\nexcept (OSError, ValueError): pass"),
    (
        uses_our_words,
        "src/a.py",
        "log.info(data)\ndata = utils.x\nclass Handled: ...\nasync def data_received(): ...",
    ),
    (begins_with_its_purpose, "a.sql", "-- Why.\nSELECT 1"),
    (holds_one_statement, "src/a.sql", "-- a; b\nSELECT ';' -- c; d\n"),
    (holds_one_statement, "src/a.sql", TRIGGER),
    (holds_one_statement, "src/a.sql", "CREATE FUNCTION f() AS $x$ BEGIN; END; $x$ LANGUAGE plpgsql"),
    (holds_one_statement, "src/migrations/0001.sql", "SELECT 1; SELECT 2;"),
    (is_a_short_decision, "docs/decisions/0001-one-line.md", "x\n" * 30),
)

BAD: tuple[tuple[Check, str, str], ...] = (
    *((names_no_registry, "a.txt", f"--index-url HTTPS://{host.upper()}/simple") for host in REGISTRIES),
    (names_no_machine_path, "README.md", "cd /" + "home/me"),
    (names_no_machine_path, "a.toml", '"file:/' + 'root/x"'),
    (keeps_file_budget, "src/a.py", "x\n" * 401),
    (keeps_function_budget, "src/a.py", _function_of(71)),
    (keeps_function_budget, "src/a.py", "async " + _function_of(71)),
    (keeps_protocol_budget, "src/a.py", _protocol_of(9)),
    (keeps_protocol_budget, "src/a.py", _protocol_of(9).replace("Protocol", "typing.Protocol[T]")),
    (is_finished, "src/a.py", "# TO" + "DO: later"),
    (is_finished, "src/a.sql", "-- FIX" + "ME"),
    (leaves_no_way_out, "tests/a.py", "@pytest.mark.skipif(True)\ndef test_x(): ..."),
    (leaves_no_way_out, "tests/a.py", "from pytest import importorskip"),
    (leaves_no_way_out, "tests/a.py", "pytest.mark.xfail"),
    (catches_only_what_it_expects, "src/a.py", "try: f()\nexcept Exception: raise"),
    (catches_only_what_it_expects, "src/a.py", "try: f()\nexcept (OSError, builtins.Exception): pass"),
    (catches_only_what_it_expects, "src/a.py", "try: f()\nexcept BaseException: pass"),
    (catches_only_what_it_expects, "src/a.py", "try: f()\nexcept: pass"),
    (uses_our_words, "src/utils.py", ""),
    (uses_our_words, "src/a.py", "class LaneManager: ..."),
    (uses_our_words, "src/a.py", "def f(user_info): ..."),
    (uses_our_words, "src/a.py", "def _handle_event(): ..."),
    (uses_our_words, "src/a.py", "userData = 1"),
    (begins_with_its_purpose, "a.sql", "SELECT 1 -- why"),
    (holds_one_statement, "src/a.sql", "-- why\nSELECT 1; SELECT 2"),
    (holds_one_statement, "src/a.sql", TRIGGER + "SELECT 3;"),
    (holds_one_statement, "src/a.sql", "-- why\n"),
    (is_a_short_decision, "docs/decisions/0001-long.md", "x\n" * 31),
    (is_a_short_decision, "docs/decisions/storage.md", "x"),
)


@pytest.mark.parametrize(("check", "path", "text"), GOOD)
def test_lawful_sample_draws_no_complaint(check: Check, path: str, text: str) -> None:
    """A check leaves alone what comes close to its limit and keeps to it."""
    assert list(check(path, text)) == []


@pytest.mark.parametrize(("check", "path", "text"), BAD)
def test_unlawful_sample_draws_one_complaint_that_names_the_file(check: Check, path: str, text: str) -> None:
    """A check sees what it was written for."""
    assert [complaint.startswith(path) for complaint in check(path, text)] == [True]
