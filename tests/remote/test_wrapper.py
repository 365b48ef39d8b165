"""The API string: quoting for the agent's lexer, and the way back."""

from __future__ import annotations

import hashlib
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecs_exec_magic.errors import InvalidRequest
from ecs_exec_magic.remote.wrapper import (
    API_LIMIT,
    ARGUMENT_LIMIT,
    far_end_script,
    quote_word,
    split,
    unwrap,
    wrap,
    wrap_shell,
)

words = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)


@given(st.lists(words, max_size=6))
def test_the_agents_lexer_gives_every_word_back(given_words: list[str]) -> None:
    text = " ".join(quote_word(word) for word in given_words)
    assert split(text) == given_words
    assert "{{" not in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("a b\tc\r\nd", ["a", "b", "c", "d"]),
        ("'a b' \"c d\"", ["a b", "c d"]),
        (r'"a\nb" "\$x" "\\"', ["anb", "$x", "\\"]),
        (r"a\ b \'", ["a b", "'"]),
        ("a\\\nb", ["a\nb"]),
        ("''", [""]),
        ("a'b'\"c\"d", ["abcd"]),
        ("a # b\nc", ["a", "c"]),
        ("a#b '#c'", ["a#b", "#c"]),
        ("# only", []),
        (r"'a\'", ["a\\"]),
    ],
)
def test_splitting_as_google_shlex(text: str, expected: list[str]) -> None:
    assert split(text) == expected


@pytest.mark.parametrize("text", ["'a", '"a', "a\\", "\"a'", "'a\""])
def test_splitting_refuses_what_the_agent_refuses(text: str) -> None:
    with pytest.raises(ValueError, match="EOF found"):
        split(text)


@given(words.filter(lambda word: word.strip()))
def test_unwrap_gives_a_command_back(command: str) -> None:
    api = wrap(command).api_command
    if "\ufffd" not in command:
        assert unwrap(api) == command
    assert "{{" not in api


@given(st.lists(words, min_size=1, max_size=5).filter(lambda each: bool(each[0])))
def test_unwrap_gives_arguments_back(given_words: list[str]) -> None:
    api = wrap(given_words).api_command
    if not any("\ufffd" in word for word in given_words):
        assert shlex.split(unwrap(api)) == given_words


def test_unwrap_gives_a_script_back_without_its_interpreter() -> None:
    api = wrap(["/bin/sh", "-c", "echo 'x'\nexit 1\n"], script=True).api_command
    assert unwrap(api) == "echo 'x'\nexit 1\n"


@pytest.mark.parametrize(
    "foreign",
    ["", "/bin/bash", "ls -l /", "sh -c 'ls | wc'", "sh -c '", "'", "sh -c x ecs-exec-magic a b c"],
)
def test_foreign_strings_come_back_as_they_are(foreign: str) -> None:
    assert unwrap(foreign) == foreign


@given(st.text(max_size=80))
def test_unwrap_never_fails(text: str) -> None:
    assert isinstance(unwrap(text), str)


def test_the_call_stays_below_the_limit() -> None:
    room = 0
    for size in range(3000, 4200, 7):
        command = "e" * size
        wrapped = wrap(command)
        assert len(wrapped.api_command.encode()) <= API_LIMIT
        if wrapped.payload:
            room = size
            break
        assert command in wrapped.api_command
    assert room, "somewhere a command no longer fits"
    assert room > 3000, "a command of 3 kB stands readable in the call"


def test_a_long_command_leaves_its_digest() -> None:
    command = "echo é; " * 2000
    wrapped = wrap(command)
    assert unwrap(wrapped.api_command) == f"sha256:{hashlib.sha256(command.encode()).hexdigest()}"
    assert b"echo \\303\\251" in wrapped.payload or b"\\303\\251" in wrapped.payload
    with pytest.raises(InvalidRequest, match="possible"):
        wrap(command, input_possible=False)


@pytest.mark.parametrize(
    "command",
    ["", "  \n", "a\0b", [], [""], ["", "x"], ["a", "b\0"], [b"\0"], ["a", 3], "\ud800"],
)
def test_what_cannot_be_run_is_refused(command: object) -> None:
    with pytest.raises(InvalidRequest):
        wrap(command)  # type: ignore[arg-type]  # that is the point


def test_an_argument_that_linux_would_refuse() -> None:
    wrap(["echo", "x" * ARGUMENT_LIMIT])
    with pytest.raises(InvalidRequest, match="Linux takes"):
        wrap(["echo", "x" * (ARGUMENT_LIMIT + 1)])


def test_the_script_survives_the_api_and_cloudtrail() -> None:
    script = far_end_script()
    assert "'" not in script  # each would cost five characters of quoting
    assert "\n" not in script
    assert "{{" not in script
    assert script.isascii()
    assert len(script) < 5000
    kept = far_end_script(warm=True)
    assert "'" not in kept and "\n" not in kept and "{{" not in kept and kept.isascii()
    assert len(wrap_shell().api_command) <= API_LIMIT


def test_nonces_differ_and_secrets_are_in_no_api_string() -> None:
    one, two = wrap("true"), wrap("true")
    assert one.nonce != two.nonce
    assert one.nonce.decode() in one.api_command


@pytest.mark.parametrize(
    ("timeout", "word"),
    [
        (None, "0"),
        (5, "5"),
        (0.25, "0.25"),
        (1234567, "1234567"),
        (1e-5, "0.001"),
        (1e6, "1000000"),
    ],
)
def test_time_limits_are_written_without_an_exponent(timeout: float | None, word: str) -> None:
    assert split(wrap("true", timeout=timeout).api_command)[5] == word
