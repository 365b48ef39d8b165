"""The scanner: options are read as a shell reads words, the command is not read at all."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from IPython.core.error import UsageError

from ecs_exec_magic.notebook.finding import TARGET_LINE
from ecs_exec_magic.notebook.magics import EXEC_LINE, SHELL_CELL
from ecs_exec_magic.notebook.options import RUN, Command, read_word

# Tags are read into a mapping; their form has a test of its own.
VALUE_OPTIONS = [option for option in RUN if option.metavar and option.dest != "tag"]


def _good_value(dest: str) -> st.SearchStrategy[str]:
    if dest in ("timeout", "max_parallel", "max_failures", "retry"):
        return st.integers(1, 999).map(str)
    if dest == "target":
        return st.text(st.characters(exclude_characters="{$\x00"), min_size=1).filter(str.strip)
    return st.text("ab1_", max_size=6).map("v".__add__)


@st.composite
def option_parts(draw: st.DrawFn) -> tuple[str, dict[str, str]]:
    chosen = draw(st.lists(st.sampled_from(VALUE_OPTIONS), unique_by=lambda o: o.dest, max_size=4))
    given_values, words = {}, []
    for option in chosen:
        value = draw(_good_value(option.dest))
        flag = draw(st.sampled_from(option.flags))
        joined = flag.startswith("--") and draw(st.booleans())
        words.append(flag + ("=" if joined else draw(st.sampled_from([" ", "  ", "\t"]))))
        words[-1] += shlex.quote(value)
        given_values[option.dest] = value
    if draw(st.booleans()):
        words.insert(draw(st.integers(0, len(words))), "--quiet")
    return "".join(
        word + draw(st.sampled_from([" ", "\t ", "   "])) for word in words
    ), given_values


# What a command can begin with: anything but a blank, and a dash with something behind it.
commands = st.text(st.characters(exclude_characters="\x00"), min_size=1).filter(
    lambda text: (
        text[0] not in " \t\r\n" and not text.startswith("-") and text.strip(" \t\r\n") != "?"
    )
)


@settings(suppress_health_check=[HealthCheck.too_slow])  # its Unicode tables, the first time
@given(option_parts(), commands)
@example(("--timeout=5 ", {"timeout": "5"}), r"echo 'it  is' \; \  ")
@example(("", {}), "echo \"not closed 'at all")
@example(("", {}), "awk '{print $1}'   |  grep -- --help ;")
@example(("", {}), "\N{NO-BREAK SPACE}ls")
def test_the_command_is_the_exact_slice(part: tuple[str, dict[str, str]], command: str) -> None:
    text, values = part
    for between in ("", "-- ", "--\t  "):
        parsed = EXEC_LINE.parse(text + between + command)
        assert parsed.rest == command
        for dest, value in values.items():
            assert str(parsed[dest]) == (str(float(value)) if dest == "timeout" else value)


@given(st.text(max_size=30))
def test_behind_two_dashes_anything_goes(command: str) -> None:
    parsed = EXEC_LINE.parse("--quiet -- " + command)
    if command.strip() != "?":
        assert parsed.rest == command.lstrip(" \t\r\n")


@given(st.text(st.characters(exclude_characters="\x00")))
def test_words_are_those_of_the_shell(text: str) -> None:
    word = read_word(shlex.quote(text) + " tail")
    assert word is not None
    assert word.text == text
    assert (word.start, word.end) == (0, len(shlex.quote(text)))


@given(st.text("ab'\"\\ $`\n", max_size=12))
def test_words_agree_with_shlex(text: str) -> None:
    """Where both have a word; shlex keeps backslashes before $ and `, which POSIX drops."""
    try:
        expected = shlex.split(text)
    except ValueError:
        return
    position, words = 0, []
    while (word := read_word(text, position)) is not None:
        words.append(word.text)
        position = word.end
    if "\\" not in text:
        assert words == expected
    assert "".join(words).replace("\n", "").replace("\\", "") == "".join(expected).replace(
        "\n", ""
    ).replace("\\", "")


@given(st.one_of(st.text(max_size=40), st.text("-=?'\" abht{}$", max_size=20)))
def test_no_line_does_worse_than_a_usage_error(line: str) -> None:
    for command in (EXEC_LINE, SHELL_CELL, TARGET_LINE):
        try:
            command.parse(line)
        except UsageError as error:
            assert type(error) is UsageError
            assert "\n" not in str(error)
            assert str(error).startswith(command.name)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--timout 5 ls", "did you mean --timeout?"),
        ("-la", "unknown option -la"),
        ("--nothing-like-it ls", "%ecs_exec? lists the options"),
        ("--timeout 5 --timeout=6 ls", "--timeout is given twice"),
        ("-t a --target b ls", "--target is given twice"),
        ("--quiet --quiet ls", "--quiet is given twice"),
        ("--no-raise --no-raise-error ls", "--no-raise-error is given twice"),
        ("--quiet=yes ls", "--quiet takes no value"),
        ("--timeout", "--timeout needs a value: S"),
        ("--timeout soon ls", "--timeout: 'soon' is not a number of seconds"),
        ("--timeout 0 ls", "'0' is not a number of seconds"),
        ("--timeout nan ls", "'nan' is not a number of seconds"),
        ("--timeout inf ls", "'inf' is not a number of seconds"),
        ("-o 2x ls", "'2x' is not a name for a variable"),
        ("-o class ls", "'class' is not a name for a variable"),
        ("-o a.b ls", "'a.b' is not a name for a variable"),
        ("-o '' ls", "'' is not a name for a variable"),
        ("-t '' ls", "--target: the value is empty"),
        ("-t 'a ls", "the quote ' is not closed"),
        ("-t a\\", "nothing follows the backslash"),
        ("-ox=1 ls", "'x=1' is not a name for a variable"),
    ],
)
def test_mistakes_are_named_in_one_line(line: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        EXEC_LINE.parse(line)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("line", "rest"),
    [
        ("-", "-"),
        ("- x", "- x"),
        ("--quiet - x", "- x"),
        ('--quiet "-t" x', '"-t" x'),
        ("ls --timeout 5 --help", "ls --timeout 5 --help"),
        ("-- --help", "--help"),
        ("-- -- x", "-- x"),
        ("--", ""),
        ("--quiet", ""),
        ("  ls  ", "ls  "),
        ("ls;", "ls;"),
    ],
)
def test_where_the_command_begins(line: str, rest: str) -> None:
    assert EXEC_LINE.parse(line).rest == rest


@pytest.mark.parametrize("spelling", ["-o r", "-or", "-o=r", "--out r", "--out=r", "--out 'r'"])
def test_spellings_of_a_value(spelling: str) -> None:
    parsed = EXEC_LINE.parse(f"{spelling} ls")
    assert (parsed["out"], parsed.rest) == ("r", "ls")


def test_a_value_may_look_like_an_option() -> None:
    assert EXEC_LINE.parse("-t -x ls")["target"] == "-x"


@pytest.mark.parametrize("line", ["--help", "-h", "?", " ? ", "--quiet --help --nonsense"])
def test_asking_for_help(line: str) -> None:
    assert EXEC_LINE.parse(line).help
    assert TARGET_LINE.parse(line.replace("--quiet", "--check")).help


@pytest.mark.parametrize("line", ["ls --help", "ls ?", "-- --help", "--quiet ?"])
def test_not_asking_for_help(line: str) -> None:
    assert not EXEC_LINE.parse(line).help


def test_only_values_are_expanded() -> None:
    seen: list[str] = []

    def expand(text: str) -> str:
        seen.append(text)
        return text.replace("{x}", "7")

    parsed = EXEC_LINE.parse("--timeout {x} -o plain echo {x} $x", expand)
    assert parsed["timeout"] == 7.0
    assert parsed.rest == "echo {x} $x"
    assert seen == ["{x}"]


@pytest.mark.parametrize("command", [EXEC_LINE, SHELL_CELL, TARGET_LINE])
def test_every_value_can_come_from_the_notebook(command: Command) -> None:
    """A parameters cell of papermill must reach each of them."""
    for option in (each for each in command.options if each.metavar):
        for sample in ("some", "7"):
            try:
                wanted = option.convert(sample)
            except ValueError:
                continue
            for flag in option.flags:
                parsed = command.parse(f"{flag} {{v}}", lambda _, text=sample: text)  # type: ignore[misc]
                assert parsed[option.dest] == wanted, flag
            break
        else:
            raise AssertionError(f"no sample is good for {option.name}")


def test_a_failing_expansion_is_not_silent() -> None:
    def expand(text: str) -> str:
        raise NameError("name 'x' is not defined")

    with pytest.raises(UsageError, match=r"cannot fill in '\{x\}': name 'x' is not defined"):
        EXEC_LINE.parse("-t {x} ls", expand)


def test_words_and_options_mix_where_words_are_taken() -> None:
    parsed = TARGET_LINE.parse("demo/web:nginx --region eu-west-1 'b c' -- --check d")
    assert parsed.words == ("demo/web:nginx", "b c", "--check", "d")
    assert parsed["region"] == "eu-west-1"
    assert parsed["check"] is False


@pytest.mark.parametrize("command", [EXEC_LINE, SHELL_CELL, TARGET_LINE])
def test_help_names_every_option_and_fits_a_screen(command: Command) -> None:
    text = command.help()
    for option in command.options:
        assert all(flag in text for flag in option.flags)
    assert max(map(len, text.splitlines())) <= 100
    assert text.splitlines()[0] == command.summary


def test_options_have_one_meaning_each() -> None:
    def table(command: Command) -> dict[str, Any]:
        return {flag: option for option in command.options for flag in option.flags}

    run, script = table(EXEC_LINE), table(SHELL_CELL)
    assert all(script[flag] is option for flag, option in run.items())
