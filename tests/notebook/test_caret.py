"""What stands at the cursor, by example and by attack. The mark ¦ is the cursor."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ecs_exec_magic.notebook.caret import Ask, Line, ask, magic_line
from ecs_exec_magic.notebook.finding import TARGET_LINE
from ecs_exec_magic.notebook.magics import EXEC_LINE, SHELL_CELL
from ecs_exec_magic.notebook.options import ACCOUNT, RUN, WHERE, Command
from ecs_exec_magic.notebook.tasks import TASKS_LINE


def line_at(marked: str, **how: Any) -> Line | None:
    before, _, after = marked.partition("¦")
    row = before.count("\n")
    return magic_line(before + after, row, len(before.rpartition("\n")[2]), **how)


def ask_at(command: Command, marked: str) -> Ask | None:
    before, _, after = marked.partition("¦")
    return ask(command, before + after, len(before))


# -- lines ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("marked", "expected"),
    [
        ("%ecs_exec ¦", Line(False, "ecs_exec", " ", 1)),
        ("%ecs_exec -t a¦b ls", Line(False, "ecs_exec", " -t ab ls", 5)),
        ("  %ecs_exec ¦", Line(False, "ecs_exec", " ", 1)),
        ("x = 1\nif x:\n    %ecs_exec ¦\ny", Line(False, "ecs_exec", " ", 1)),
        ("x = %ecs_exec -t ¦", Line(False, "ecs_exec", " -t ", 4)),
        ("x=%ecs_exec ¦", Line(False, "ecs_exec", " ", 1)),
        ("a, (b, c) = %ecs_exec ¦", Line(False, "ecs_exec", " ", 1)),
        ("kept['web'] = %ecs_exec ¦", Line(False, "ecs_exec", " ", 1)),
        ("if x: y = %ecs_exec ¦", Line(False, "ecs_exec", " ", 1)),
        ("x = \\\n%ecs_exec ¦", Line(False, "ecs_exec", " ", 1)),
        ("%ecs_exec \\\n  -t ¦ \\\n ls", Line(False, "ecs_exec", "     -t     ls", 8)),
        ("%%ecs_shell -t ¦\nls", Line(True, "ecs_shell", " -t ", 4)),
        ("\n \n%%ecs_shell ¦\nls", Line(True, "ecs_shell", " ", 1)),
        ("%%capture x\n%ecs_exec ¦", Line(False, "ecs_exec", " ", 1)),
        ("%ecs_exec echo a = %ecs_tasks ¦", Line(False, "ecs_exec", " echo a = %ecs_tasks ", 21)),
    ],
)
def test_lines_of_magics(marked: str, expected: Line) -> None:
    assert line_at(marked) == expected


@pytest.mark.parametrize(
    "marked",
    [
        "¦",
        "%ecs_exec¦",
        "%ecs_¦exec ls",
        "¦%ecs_exec ls",
        "x = 1¦\n%ecs_exec ls",
        "%ecs_exec ls\n¦",
        "%%ecs_shell -t x\n%ecs_exec ¦",
        "%%ecs_shell -t x\n¦",
        "print('x = %ecs_exec ¦",
        "x == %ecs_exec ¦",
        "x += %ecs_exec ¦",
        "!x = %ecs_exec ¦",
        "# x = %ecs_exec ¦",
        "%ecs_exec:¦ ",
        "ecs_exec ¦",
    ],
)
def test_what_is_no_line_of_a_magic(marked: str) -> None:
    assert line_at(marked) is None


def test_automagic() -> None:
    ours = {"ecs_exec"}.__contains__
    assert line_at("ecs_exec -t ¦", is_magic=ours) == Line(False, "ecs_exec", " -t ", 4)
    assert line_at("ecs_tasks -t ¦", is_magic=ours) is None
    assert line_at("ecs_exec = 5¦", is_magic=ours) is None
    assert line_at("x\necs_exec -t ¦", is_magic=ours) is None, "IPython takes it in one line only"


@given(st.text("%ecs_x \n\\='\"#!-", max_size=40), st.integers(0, 40))
def test_any_cell_can_be_read(cell: str, cursor: int) -> None:
    before = cell[:cursor]
    row, column = before.count("\n"), len(before.rpartition("\n")[2])
    line = magic_line(cell, row, column, bool)
    if line is not None:
        # The part before the cursor is what stands there, but for lines that go on.
        written = before.rpartition(line.name)[2].replace("\\\n", "  ")
        assert line.text[: line.cursor].endswith(written[-line.cursor :])
        assert 0 < line.cursor <= len(line.text)


# -- options -------------------------------------------------------------------------------------


def seen(question: Ask | None) -> Any:
    if question is None:
        return None
    dest = question.option.dest if question.option else None
    return question.kind, dest, question.typed, question.quote


@pytest.mark.parametrize(
    ("marked", "expected"),
    [
        (" ¦", ("flag", None, "", "")),
        (" ¦ ls", ("flag", None, "", "")),
        (" ¦ls", ("flag", None, "", "")),
        (" -¦", ("flag", None, "-", "")),
        (" --¦", ("flag", None, "--", "")),
        (" --clu¦", ("flag", None, "--clu", "")),
        (" --clu¦ster x", ("flag", None, "--clu", "")),
        (" --cluster¦", ("flag", None, "--cluster", "")),
        (" --cluster ¦", ("value", "cluster", "", "")),
        (" --cluster   ¦  ls", ("value", "cluster", "", "")),
        (" --cluster=¦", ("value", "cluster", "", "")),
        (" --cluster=pr¦od ls", ("value", "cluster", "pr", "")),
        (" --cluster pr¦", ("value", "cluster", "pr", "")),
        (" -t pr¦", ("value", "target", "pr", "")),
        (" -tpr¦", ("value", "target", "pr", "")),
        (" -t=pr¦", ("value", "target", "pr", "")),
        (' -t "pr¦', ("value", "target", "pr", '"')),
        (" -t 'pr od¦", ("value", "target", "pr od", "'")),
        (" -t 'pr'od¦", ("value", "target", "prod", "")),
        (" --cluster='pr¦", ("value", "cluster", "pr", "'")),
        (" -t pr\\ od¦", ("value", "target", "pr od", "")),
        (" --quiet -t pr¦ --timeout 5 ls", ("value", "target", "pr", "")),
        (" -t a/b:¦", ("value", "target", "a/b:", "")),
        (" ls¦", None),
        (" ls ¦", None),
        (" ls -t ¦", None),
        (" -t x ls --¦", None),
        (" -- ¦", None),
        (" -- -t¦", None),
        (" --quiet=¦", None),
        (" --nonsense=¦", None),
        (" -t pr\\¦", None),
        (" --nonsense -t ¦", ("value", "target", "", "")),
        (" --timeout 5 -t 'x' ¦", ("flag", None, "", "")),
    ],
)
def test_the_line_of_a_command(marked: str, expected: Any) -> None:
    assert seen(ask_at(EXEC_LINE, marked)) == expected


@pytest.mark.parametrize(
    ("marked", "expected"),
    [
        (" ¦", ("word", None, "", "")),
        (" prod/w¦", ("word", None, "prod/w", "")),
        (" 'prod/w¦", ("word", None, "prod/w", "'")),
        (" prod/web --cl¦", ("flag", None, "--cl", "")),
        (" --cluster x p¦", ("word", None, "p", "")),
        (" -- p¦", ("word", None, "p", "")),
        (" -- -¦", ("word", None, "-", "")),
    ],
)
def test_a_line_of_words(marked: str, expected: Any) -> None:
    assert seen(ask_at(TARGET_LINE, marked)) == expected


def test_what_else_is_on_the_line() -> None:
    question = ask_at(EXEC_LINE, " --cluster prod --quiet -t ¦ --region=eu-west-1 -o 'r' ls -t x")
    assert question is not None
    assert question.values == {
        "cluster": "prod",
        "quiet": True,
        "region": "eu-west-1",
        "out": "r",
    }
    question = ask_at(TASKS_LINE, " prod --tag a=b --container ¦ more")
    assert question is not None
    assert question.words == ("prod", "more")
    assert question.values == {"tag": "a=b"}
    question = ask_at(EXEC_LINE, " --cluster prod --cluster=de¦")
    assert question is not None
    assert question.values == {"cluster": "prod"}, "its own value is no news"


# -- by attack -----------------------------------------------------------------------------------

COMMANDS = (EXEC_LINE, SHELL_CELL, TARGET_LINE, TASKS_LINE)
VALUED = [option for option in (*RUN, *WHERE, *ACCOUNT) if option.metavar]


@given(st.sampled_from(COMMANDS), st.text("-to= '\"\\lsqu{}$\n\t", max_size=30), st.integers(0, 30))
@example(EXEC_LINE, " -t 'a' \"b", 9)
def test_any_line_can_be_asked_about(command: Command, text: str, cursor: int) -> None:
    cursor = min(cursor, len(text))
    question = ask(command, text, cursor)
    if question is not None:
        assert question.kind in ("flag", "value", "word")
        assert (question.option is not None) == (question.kind == "value")
        if "'" not in text and '"' not in text and "\\" not in text:
            assert text[:cursor].endswith(question.typed)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(VALUED), st.text("ab/:'\" -", min_size=1, max_size=8), st.booleans()
        ),
        min_size=1,
        max_size=4,
        unique_by=lambda each: each[0].dest,
    ),
    st.data(),
)
def test_the_word_at_the_cursor_is_what_the_parser_would_read(
    parts: list[tuple[Any, str, bool]], data: st.DataObject
) -> None:
    """Wherever in a value the cursor is: this option, and the beginning of this value."""
    option, value, _ = parts[-1]
    written = [
        f"{one.name}{'=' if joined else ' '}{shlex.quote(text)}" for one, text, joined in parts
    ]
    line = " " + " ".join(written)
    length = len(shlex.quote(value))
    cursor = len(line) - length + data.draw(st.integers(0, length))
    question = ask(EXEC_LINE, line, cursor)
    if question is None:  # only where nobody could say what is meant
        assert line[:cursor].endswith("\\")
        return
    assert question.option is option
    assert value.startswith(question.typed)
    if cursor == len(line):
        assert question.typed == value
        assert question.quote == ""
    assert question.values == {one.dest: text for one, text, _ in parts[:-1]}


@given(st.text(max_size=20), st.integers(0, 20))
def test_a_command_is_never_asked_about(command: str, cursor: int) -> None:
    for before in (" -- ", " --quiet x "):
        line = before + command
        assert ask(EXEC_LINE, line, min(len(line), len(before) + cursor)) is None
