"""What is written about the library is so: the example runs, the page's programs are programs."""

import ast
import re
from pathlib import Path

import pytest

import idsync.webhooks
from examples.webhooks import main

PAGE = Path(__file__).parents[3] / "docs" / "webhooks-library.md"
PROGRAMS = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


async def test_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """Every webhook arrives, the failed one twice."""
    await main()
    out = capsys.readouterr().out
    assert "crm: 3 requests" in out
    assert "successful_deliveries=5" in out


@pytest.mark.parametrize("program", PROGRAMS)
def test_program_of_the_page_uses_what_there_is(program: str) -> None:
    """It can be read by Python, and all that it imports exists."""
    tree = compile(program, str(PAGE), "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    assert isinstance(tree, ast.Module)
    imports = [one for one in tree.body if isinstance(one, ast.ImportFrom)]
    names = {alias.name for one in imports for alias in one.names}
    assert names
    assert names <= set(idsync.webhooks.__all__)


def test_page_names_everything_that_is_public() -> None:
    """What nobody can find is not there."""
    page = PAGE.read_text()
    verbs = [name for name in vars(idsync.webhooks.WebhookSystemBuilder) if not name.startswith("_")]
    assert [name for name in verbs if f"{name}(" not in page and f"`{name}`" not in page] == ["source", "log"]
