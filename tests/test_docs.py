"""The documentation says what the code does: pages are generated, snippets are run, links lead somewhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from idsync.config import parse_settings

ROOT = Path(__file__).parents[1]
PROSE = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/README.md")])
GUIDES = [one for one in PROSE if "node_modules" not in one.parts]


def test_reference_pages_are_what_the_code_says() -> None:
    """Every setting, command, error, state and metric stands in its page, and nothing else does."""
    found = subprocess.run(
        [sys.executable, "-m", "docs.generate", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr


def test_every_state_says_what_it_means() -> None:
    """A value without a meaning in the states page would leave an operator to guess."""
    page = (ROOT / "docs" / "reference" / "states.md").read_text()
    assert re.findall(r"^\| `[^`]+` \|  \|$", page, re.MULTILINE) == []


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file(page: Path) -> None:
    """A link within the repository names something that is there."""
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_configuration_of_the_design_is_valid() -> None:
    """The configuration contract of the design is read as it stands there."""
    text = (ROOT / "docs" / "design.md").read_text()
    contract = max(re.findall(r"```toml\n(.*?)```", text, re.DOTALL), key=len)
    settings = parse_settings(
        contract, environ={"IDSYNC_API_KEY": "k" * 32, "PAYLOAD_API_KEY": "p", "AUDIT_SECRET": "whsec_" + "A" * 32}
    )
    assert list(settings.peers) == ["auth", "app", "cms"]


@pytest.mark.parametrize("page", ["comparison.md", "peers-bugs.md"])
def test_every_test_that_a_table_names_exists(page: str) -> None:
    """What is said to be shown is shown by something."""
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)(?:\[[\w-]+\])?`", (ROOT / "docs" / page).read_text())
    assert len(named) >= 25
    missing = [
        f"{file}::{name}"
        for file, name in named
        if not (ROOT / file).exists()
        or not re.search(rf"^(async )?def {name}\(", (ROOT / file).read_text(), re.MULTILINE)
    ]
    assert missing == []


def test_every_feature_of_others_is_shown_by_a_test_or_said_to_be_absent() -> None:
    """A row without either would be a claim that nobody can check."""
    rows = re.findall(r"^\| (?!Feature|---).*$", (ROOT / "docs" / "comparison.md").read_text(), re.MULTILINE)
    assert [row for row in rows if ("`tests/" in row) is ("| not here |" in row)] == []
    assert [row for row in rows if re.search(r"\|\s*\|", row)] == []
    assert len(rows) >= 35
