"""The option part of a magic's line, and the command behind it byte for byte.

Knows shell words, option tables and help texts. Never knows what the options do.

IPython's own parsers do not fit a magic that carries a command: ``arg_split`` keeps the quotes of
values, joining its words again changes the command, and argparse takes the last of two equal
options without a word and leaves the interpreter on ``--help``.
"""

from __future__ import annotations

import difflib
import keyword
import math
import textwrap
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from IPython.core.error import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "ACCOUNT",
    "HELP",
    "RUN",
    "TARGET",
    "WHERE",
    "Command",
    "Option",
    "Parsed",
    "Word",
    "key_values",
    "positive_count",
    "positive_seconds",
    "read_word",
    "tags_of",
    "variable_name",
    "whole_number",
]

_BLANKS = " \t\r\n"
_ESCAPED_IN_DOUBLE_QUOTES = '$`"\\\n'

_F = TypeVar("_F")


@dataclass(frozen=True, slots=True)
class Word:
    """One shell word: its text without quotes, and where it stands in the line."""

    text: str
    start: int
    end: int


def read_word(line: str, position: int = 0) -> Word | None:
    """Read the shell word at or behind a position, by the quoting rules of POSIX (2.2).

    Returns:
        the word, or None when only blanks follow.

    Raises:
        ValueError: a quote is not closed, or nothing follows a backslash.
    """
    while position < len(line) and line[position] in _BLANKS:
        position += 1
    if position == len(line):
        return None
    start, text, quote = position, [], ""
    while position < len(line):
        char = line[position]
        position += 1
        if quote == "'":
            if char == quote:
                quote = ""
            else:
                text.append(char)
        elif char == "\\":
            following = line[position : position + 1]
            if not following:
                raise ValueError("nothing follows the backslash")
            if quote and following not in _ESCAPED_IN_DOUBLE_QUOTES:
                text.append(char)
                continue
            position += 1
            if following != "\n":  # a backslash and a newline are a line that goes on
                text.append(following)
        elif quote:
            if char == quote:
                quote = ""
            else:
                text.append(char)
        elif char in "'\"":
            quote = char
        elif char in _BLANKS:
            position -= 1
            break
        else:
            text.append(char)
    if quote:
        raise ValueError(f"the quote {quote} is not closed")
    return Word("".join(text), start, position)


def _skip_blanks(line: str, position: int) -> int:
    while position < len(line) and line[position] in _BLANKS:
        position += 1
    return position


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a magic.

    Attributes:
        flags: its spellings, the one to show in messages first.
        dest: the name its value is found under.
        metavar: what stands for the value in help texts; empty for a switch.
        convert: makes the value of its text; a ValueError says what is wrong with it.
    """

    flags: tuple[str, ...]
    dest: str
    help: str
    metavar: str = ""
    convert: Callable[[str], Any] = str

    @property
    def name(self) -> str:
        """The long spelling, for messages."""
        return next((flag for flag in self.flags if flag.startswith("--")), self.flags[0])


@dataclass(frozen=True, slots=True)
class Parsed:
    """A parsed line.

    Attributes:
        values: by ``dest``; None or False for what was not given.
        rest: what follows the options, exactly as typed.
        words: the words that are no options, where a magic takes such.
        help: help was asked for; nothing else was read.
    """

    values: Mapping[str, Any]
    rest: str = ""
    words: tuple[str, ...] = ()
    help: bool = False

    def __getitem__(self, dest: str) -> Any:
        return self.values[dest]


def variable_name(text: str) -> str:
    """Check the name of a variable to be set.

    Raises:
        ValueError: Python could not read a variable of this name.
    """
    if not text.isidentifier() or keyword.iskeyword(text):
        raise ValueError(f"{text!r} is not a name for a variable")
    return text


def positive_seconds(text: str) -> float:
    """Read a time.

    Raises:
        ValueError: it is not a positive, finite number.
    """
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not (0 < seconds < math.inf):
        raise ValueError(f"{text!r} is not a number of seconds")
    return seconds


def positive_count(text: str) -> int:
    """Read a count.

    Raises:
        ValueError: it is not a whole number from 1 up.
    """
    if not (text.isascii() and text.isdigit() and int(text)):
        raise ValueError(f"{text!r} is not a whole number from 1 up")
    return int(text)


def whole_number(text: str) -> int:
    """Read a count that may be 0.

    Raises:
        ValueError: it is not a whole number.
    """
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{text!r} is not a whole number")
    return int(text)


def _not_empty(text: str) -> str:
    if not text.strip():
        raise ValueError("the value is empty")
    return text


HELP = Option(("--help", "-h"), "help", "show this text")


def key_values(text: str) -> dict[str, str]:
    """Read ``KEY=VALUE,KEY=VALUE``; AWS allows no comma in either.

    Raises:
        ValueError: a key or the sign behind it is missing.
    """
    tags = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        key, equals, value = pair.partition("=")
        if not (key and equals):
            raise ValueError(f"{pair!r} is not KEY=VALUE")
        tags[key] = value
    return tags


def tags_of(text: str) -> dict[str, str | None]:
    """Read ``KEY=VALUE,KEY``; AWS allows no comma in either.

    Raises:
        ValueError: a key is missing.
    """
    tags: dict[str, str | None] = {}
    for pair in text.split(","):
        key, equals, value = pair.partition("=")
        if not key.strip():
            raise ValueError(f"{text!r} is not KEY=VALUE, or several of them with commas between")
        tags[key.strip()] = value.strip() if equals else None
    return tags


TARGET = Option(
    ("-t", "--target"),
    "target",
    "the container: [CLUSTER/]NAME[:CONTAINER], where NAME is a service, task id, family or ARN",
    "ADDRESS",
    _not_empty,
)

WHERE = (
    Option(("--cluster",), "cluster", "cluster of the target", "NAME", _not_empty),
    Option(("--service",), "service", "the target is a task of this service", "NAME", _not_empty),
    Option(("--task",), "task", "the target is this task (id or ARN)", "ID", _not_empty),
    Option(("--family",), "family", "the target is a task of this definition", "NAME", _not_empty),
    Option(("--container",), "container", "container of the target", "NAME", _not_empty),
)

ACCOUNT = (
    Option(("--region",), "region", "AWS region", "NAME", _not_empty),
    Option(("--profile",), "profile", "profile of the AWS configuration", "NAME", _not_empty),
    Option(("--endpoint-url",), "endpoint_url", "serve all AWS calls here", "URL", _not_empty),
)

RUN = (
    TARGET,
    Option(("-o", "--out"), "out", "keep the CommandResult as NAME", "NAME", variable_name),
    Option(("--stdout",), "stdout", "keep the text of stdout as NAME", "NAME", variable_name),
    Option(("--stderr",), "stderr", "keep the text of stderr as NAME", "NAME", variable_name),
    Option(
        ("--stdin",),
        "stdin",
        "send the variable NAME: str, bytes, a path, an open file or an iterable",
        "NAME",
        variable_name,
    ),
    Option(
        ("--timeout",), "timeout", "end the command after so many seconds", "S", positive_seconds
    ),
    Option(
        ("--no-raise-error", "--no-raise"), "no_raise", "do not raise when the exit code is not 0"
    ),
    Option(("--quiet",), "quiet", "show no output while the command runs"),
    Option(
        ("--expand",),
        "expand",
        "put variables of the notebook in the place of {{name}}, quoted for the shell",
    ),
    Option(("--bg",), "bg", "go on at once, and return a job; %ecs_jobs lists them"),
    Option(
        ("--keep",),
        "keep",
        "run in a shell that is kept: directory, variables and functions stay for the next --keep",
    ),
    Option(("--all",), "all", "run in every running container that the target means"),
    Option(
        ("--max-parallel",), "max_parallel", "with --all: containers at once", "N", positive_count
    ),
    Option(("--tag",), "tag", "with --all: only tasks with this tag", "KEY[=VALUE]", tags_of),
    Option(
        ("--retry",),
        "retry",
        "with --all: begin it again so often where it fails",
        "N",
        whole_number,
    ),
    Option(
        ("--max-failures",),
        "max_failures",
        "with --all: once it has failed in so many, begin no more",
        "N",
        positive_count,
    ),
    Option(("--fail-fast",), "fail_fast", "with --all: the same as --max-failures 1"),
    Option(
        ("--idempotent",),
        "idempotent",
        "with --all: --retry may begin it again also where nobody knows whether it ran",
    ),
    Option(
        ("--executor",),
        "executor",
        "with --all: the workers of this Dask client open the sessions",
        "NAME",
        variable_name,
    ),
    Option(("-y", "--yes"), "yes", "with --all: do not ask before it runs in many containers"),
)


@dataclass(frozen=True)
class Command:
    """A magic's line: what may stand in it, and the text that explains it.

    Attributes:
        name: with its percent signs.
        usage: what follows the options, for the help text.
        summary: one sentence.
        details: further paragraphs, shown below the options.
        takes_words: words between options are arguments, not the begin of a command.
    """

    name: str
    usage: str
    summary: str
    options: tuple[Option, ...]
    details: str = ""
    takes_words: bool = False
    _by_flag: dict[str, Option] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        for option in (*self.options, HELP):
            for flag in option.flags:
                assert flag not in self._by_flag, f"{flag} is spelled twice"
                self._by_flag[flag] = option

    # -- reading ---------------------------------------------------------------------------------

    def parse(self, line: str, expand: Callable[[str], str] = str) -> Parsed:
        """Read a line.

        Args:
            expand: puts the user's variables into option values and words. It never sees the
                command, in which ``$name`` and ``{name}`` belong to the shell at the far end.

        Raises:
            UsageError: the option part is malformed. The message is one line.
        """
        values = {option.dest: None if option.metavar else False for option in self.options}
        given: dict[str, str] = {}
        words: list[str] = []
        position = 0
        while True:
            start = _skip_blanks(line, position)
            is_option = line[start : start + 1] == "-" and line[start + 1 : start + 2] not in (
                "",
                *_BLANKS,
            )
            if not is_option and not self.takes_words:
                break
            word = self._word(line, start)
            if word is None:
                break
            position = word.end
            if not is_option:
                words.append(self._expanded(word.text, expand))
                continue
            if word.text == "--":
                start = _skip_blanks(line, position)
                break
            flag, attached = self.split(word.text)
            option = self._by_flag.get(flag)
            if option is None:
                raise self._unknown(flag)
            if option is HELP:
                return Parsed(values, help=True)
            if option.dest in given:
                raise self.error(f"{option.name} is given twice")
            given[option.dest] = flag
            if not option.metavar:
                if attached is not None:
                    raise self.error(f"{option.name} takes no value")
                values[option.dest] = True
                continue
            if attached is None:
                following = self._word(line, position)
                if following is None:
                    raise self.error(f"{option.name} needs a value: {option.metavar}")
                attached, position = following.text, following.end
            values[option.dest] = self._converted(option, self._expanded(attached, expand))
        rest = line[start:]
        while self.takes_words and rest and (last := self._word(rest, 0)):
            words.append(self._expanded(last.text, expand))
            rest = rest[last.end :]
        asks = (words == ["?"]) if self.takes_words else (rest.strip(_BLANKS) == "?")
        if asks and not given:
            return Parsed(values, help=True)
        return Parsed(values, rest, tuple(words))

    def option(self, flag: str) -> Option | None:
        """The option of that spelling."""
        return self._by_flag.get(flag)

    def error(self, message: str) -> UsageError:
        """A mistake in the line; exactly UsageError, of which IPython shows only the message."""
        return UsageError(f"{self.name}: {' '.join(message.split())}")

    def _word(self, line: str, position: int) -> Word | None:
        try:
            return read_word(line, position)
        except ValueError as error:
            raise self.error(str(error)) from None

    def split(self, text: str) -> tuple[str, str | None]:
        """An option's flag and the value attached to it: ``--name=value``, ``-nvalue``."""
        if text.startswith("--"):
            flag, equals, value = text.partition("=")
            return flag, value if equals else None
        short = self._by_flag.get(text[:2])
        if short is not None and short.metavar and len(text) > 2:
            return text[:2], text[2:].removeprefix("=")
        return text, None

    def _expanded(self, text: str, expand: Callable[[str], str]) -> str:
        if "{" not in text and "$" not in text:
            return text
        try:
            return expand(text)
        except Exception as error:  # noqa: BLE001 - it evaluates whatever the user wrote in braces
            raise self.error(f"cannot fill in {text!r}: {error}") from None

    def _converted(self, option: Option, text: str) -> Any:
        try:
            return option.convert(text)
        except ValueError as error:
            raise self.error(f"{option.name}: {error}") from None

    def _unknown(self, flag: str) -> UsageError:
        near = difflib.get_close_matches(flag, self._by_flag, n=1)
        hint = f"did you mean {near[0]}?" if near else f"{self.name}? lists the options"
        return self.error(f"unknown option {flag}; {hint}")

    # -- explaining ------------------------------------------------------------------------------

    def help(self) -> str:
        """The text that ``%name?`` and ``%name --help`` show."""
        parts = [self.summary, f"    {self.name} [OPTIONS] {self.usage}".rstrip()]
        parts.append("\n".join(self._option_lines()))
        if self.details:
            parts.append(textwrap.dedent(self.details).strip())
        return "\n\n".join(parts) + "\n"

    def document(self, function: _F) -> _F:
        """Give a magic its help text as docstring, so that ``?`` and ``--help`` say the same.

        Completion finds the line at the magic too, as its ``command``.
        """
        function.__doc__ = self.help()
        function.__dict__["command"] = self
        return function

    def _option_lines(self) -> list[str]:
        lines = ["Options:"]
        for option in (*self.options, HELP):
            head = ", ".join(option.flags) + (f" {option.metavar}" if option.metavar else "")
            body = textwrap.wrap(option.help, 66)
            if len(head) > 21:
                lines.append(f"  {head}")
            else:
                lines.append(f"  {head:<23}{body.pop(0)}")
            lines += [" " * 25 + line for line in body]
        return lines
