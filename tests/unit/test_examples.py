"""What a newcomer types beside `make run`, and what is said when it is not what he means."""

import os
import sys
import threading
from pathlib import Path

import pytest

from examples import edit, stage
from idsync.stores.sqlite.file import lock


@pytest.fixture(autouse=True)
def playground(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the test's own."""
    monkeypatch.setattr(stage, "FOLDER", tmp_path / "playground")
    return tmp_path / "playground"


@pytest.fixture
def databases(playground: Path) -> None:
    """Ada, in both databases; nobody keeps them equal."""
    stage.prepare()
    (playground / "auth.db").touch()
    stage.execute("app.db", "INSERT INTO users (auth_id, email, full_name) VALUES ('u1', 'ada@example.com', 'Ada')")
    stage.execute("auth.db", 'CREATE TABLE "user" (id, name, email)')
    stage.execute("auth.db", "INSERT INTO \"user\" VALUES ('u1', 'Ada', 'ada@example.com')")


def type_in(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    """Run the command."""
    monkeypatch.setattr(sys, "argv", ["edit", *words])
    edit.main()


@pytest.mark.usefixtures("databases")
def test_other_side_is_shown_when_it_has_followed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not as it was before."""
    follow = threading.Timer(0.1, stage.execute, ["auth.db", "UPDATE \"user\" SET name = 'Eve'"])
    follow.start()
    type_in(monkeypatch, "app", "full_name", "Eve")
    follow.join()
    assert capsys.readouterr().out.splitlines() == [
        "app.db 1 u1 Eve ada@example.com 0",
        "auth.db u1 Eve ada@example.com",
    ]


@pytest.mark.usefixtures("databases")
@pytest.mark.parametrize(
    ("words", "said"),
    [(["app", "nobody", "x"], "no such column: nobody"), (["up", "a", "b"], "auth|app"), (["app"], "auth|app")],
)
def test_wrong_word_is_answered_in_a_sentence(monkeypatch: pytest.MonkeyPatch, words: list[str], said: str) -> None:
    """And with no traceback."""
    with pytest.raises(SystemExit) as ended:
        type_in(monkeypatch, *words)
    assert said in str(ended.value)


def test_edit_before_make_run_says_what_comes_first(monkeypatch: pytest.MonkeyPatch, playground: Path) -> None:
    """And leaves no file behind."""
    with pytest.raises(SystemExit, match="start `make run` first"):
        type_in(monkeypatch, "app", "full_name", "Eve")
    assert not playground.exists()


def test_folder_is_not_taken_from_under_a_service(playground: Path) -> None:
    """A second `make run` beside the first is refused, and its databases stay."""
    stage.prepare()
    held = lock(playground / "idsync.db")
    with pytest.raises(SystemExit, match="in use"):
        stage.prepare()
    os.close(held)
    assert (playground / "app.db").exists()
