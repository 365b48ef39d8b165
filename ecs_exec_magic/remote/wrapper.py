"""The API string that runs a command in a far-end wrapper, and the way back from it.

Knows how words are quoted for the agent's lexer and which script is put around a command. Never
knows sessions, frames or what comes back.

The agent splits the command string as ``google/shlex`` does and runs it without a shell
(PROTOCOL 6.3). What the user typed stands in it as the last words, readable, so that CloudTrail
shows what was run.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.resources
import re
import secrets
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "API_LIMIT",
    "Wrapped",
    "far_end_script",
    "quote_word",
    "shell_line",
    "split",
    "unwrap",
    "wrap",
    "wrap_shell",
]

API_LIMIT = 8000
"""Bytes of an API string up to which a command stands in it readable."""

ARGUMENT_LIMIT = 128 * 1024 - 1
"""Bytes that Linux takes in one argument (MAX_ARG_STRLEN less its end)."""

_NAME = "ecs-exec-magic"
_MARK = f": {_NAME} 1;"


@dataclass(frozen=True, slots=True)
class Wrapped:
    """A command made ready for the API.

    Attributes:
        api_command: what to pass as ``command``.
        nonce: stands in the first record that the far end prints, and tells this run from others.
        payload: first input to send after the begin record; empty when nothing is to be sent.
    """

    api_command: str
    nonce: bytes
    payload: bytes = b""


@functools.cache
def far_end_script(*, warm: bool = False) -> str:
    """The wrapper's script on one line, as it stands in every API string.

    Args:
        warm: that of a shell that is kept, in which some functions are others.
    """
    source = _source("farend.sh")
    if warm:
        other = _source("warm.sh")
        for name in re.findall(r"^(_\w+)\(\) \{", other, re.MULTILINE):
            source = _without(source, f"{name}() {{")
        start, last, end = source.rpartition("case $_y in\nn|m)")
        source = start + other + last + end
    return _one_line(source)


@functools.cache
def _quoted_script() -> str:
    return quote_word(far_end_script())


def _without(source: str, head: str) -> str:
    """A script without the function that begins with this line."""
    kept, depth = [], 0
    for line in source.splitlines():
        inside = depth > 0 or line == head
        if inside:
            depth += line.endswith("{") - line.startswith("}")
        else:
            kept.append(line)
    return "\n".join([*kept, ""])


def _source(name: str) -> str:
    return importlib.resources.files(__package__).joinpath(name).read_text("utf-8")


def _one_line(source: str) -> str:
    text = ""
    for raw in source.splitlines():
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        if line == ";;":
            text = text.rstrip("; ") + " ;; "
            continue
        text += line
        opens = re.search(r"(^|[\s;])(do|then|else|in|\{)$|[|(&]$|;;$", line)
        pattern = line.endswith(")") and "(" not in line and not line.startswith(("done", "}"))
        text += " " if opens or pattern else ";"
    return text.rstrip("; ")


def wrap_shell(nonce: str | None = None) -> Wrapped:
    """Return the API string for a shell that is kept and takes command after command."""
    nonce = nonce or secrets.token_hex(8)
    script = far_end_script(warm=True)
    words = ["sh", "-c", script, _NAME, nonce, "0", "i", "a", "sh", "-s"]
    return Wrapped(_join(words), nonce.encode())


def shell_line(command: str | Sequence[str | bytes]) -> str:
    """One line of ASCII that runs a command in the shell that reads it.

    A string is evaluated by that shell, so that what it sets stays; of a list, the first is a
    program or function and no shell reads the rest.

    Raises:
        InvalidRequest: a NUL byte, an empty command, or more than Linux takes in one argument.
    """
    is_string = isinstance(command, str)
    words: list[str | bytes] = [command] if isinstance(command, str) else list(command)
    _check(words, is_string=is_string)
    text = _to_bytes(words[0])
    if not is_string:
        text = b" ".join(b"'" + _to_bytes(w).replace(b"'", b"'\"'\"'") + b"'" for w in words)
    # With `command`, a mistake in what is evaluated does not end the shell (POSIX 2.8.1).
    if all(32 <= byte < 127 for byte in text):
        return "command eval '" + text.decode("ascii").replace("'", "'\"'\"'") + "'"
    octal = "".join(f"\\{byte:03o}" for byte in text)
    return f'command eval "$(command printf "{octal}")"'


def wrap(
    command: str | Sequence[str | bytes],
    *,
    timeout: float | None = None,
    stdin: bool = False,
    input_possible: bool = True,
    script: bool = False,
    bulk: bool = False,
    nonce: str | None = None,
) -> Wrapped:
    """Return the API string for a command.

    Args:
        command: a string for ``sh -c``, or arguments that no shell reads.
        timeout: seconds after which the far end ends the command by itself.
        stdin: whether input will be sent.
        input_possible: whether the session can take input at all; if not, a command must fit
            into the API string.
        script: the arguments are an interpreter, its flag, and a script.
        bulk: nobody waits for single pieces of stdout, nor leaves a process behind that holds it:
            without a terminal it then comes faster, in one run.
        nonce: tells this run's first record from others; random unless given.

    Raises:
        InvalidRequest: a NUL byte, an empty command, or more than a session can take.
    """
    words: list[str | bytes] = [command] if isinstance(command, str) else list(command)
    _check(words, is_string=isinstance(command, str))
    raw = [_to_bytes(word) for word in words]
    kind = "s" if isinstance(command, str) else ("c" if script else "a")
    nonce = nonce or secrets.token_hex(8)
    start = f"sh -c {_quoted_script()} "
    head = [_NAME, nonce, _seconds(timeout), "i" if stdin else "b" if bulk else "-"]
    if all(_is_text(word) for word in raw):
        tail = [kind, *(word.decode("utf-8") for word in raw)]
    else:
        tail = ["q", _as_program(raw, kind).decode("ascii")]
    api = start + _join(head + tail)
    if len(api.encode("utf-8")) <= API_LIMIT:
        return Wrapped(api, nonce.encode())
    if not input_possible:
        raise InvalidRequest(
            f"the command makes a call of {len(api.encode())} bytes, and {API_LIMIT} are possible",
            cause="sessions of this method take no input, so that all has to fit into the call",
            cure='use method="execute-command", or a shorter command',
        )
    program = _as_program(raw, kind)
    digest = "sha256:" + hashlib.sha256(b"\0".join(raw)).hexdigest()
    size = str(len(program))
    return Wrapped(start + _join([*head, "L", size, digest]), nonce.encode(), program)


def unwrap(api_command: str) -> str:
    """Return the user's command from an API string; a string of other origin comes back as it is.

    Arguments are joined as a shell would need them, a script is returned without its interpreter,
    and a command that was too long for the call as ``sha256:`` with its digest.
    """
    try:
        words = split(api_command)
    except ValueError:
        return api_command
    if len(words) < 9 or words[:2] != ["sh", "-c"] or words[3] != _NAME:
        return api_command
    if not words[2].startswith(_MARK):
        return api_command
    kind, rest = words[7], words[8:]
    if kind == "a":
        return shlex.join(rest)
    return rest[-1]


def split(text: str) -> list[str]:
    """Split as the agent does, by the rules of ``google/shlex`` (PROTOCOL 6.3).

    Raises:
        ValueError: an unclosed quote or a trailing backslash.
    """
    words: list[str] = []
    word: list[str] | None = None
    quote = ""
    characters = iter(text)
    for character in characters:
        if quote == "'":
            if character == "'":
                quote = ""
            else:
                assert word is not None
                word.append(character)
        elif character == "\\":
            follower = next(characters, None)
            if follower is None:
                raise ValueError("EOF found after escape character")
            word = [] if word is None else word
            word.append(follower)
        elif quote == '"':
            if character == '"':
                quote = ""
            else:
                assert word is not None
                word.append(character)
        elif character in "'\"":
            quote = character
            word = [] if word is None else word
        elif character in " \t\r\n":
            if word is not None:
                words.append("".join(word))
                word = None
        elif character == "#" and word is None:
            for skipped in characters:
                if skipped == "\n":
                    break
        else:
            word = [] if word is None else word
            word.append(character)
    if quote:
        raise ValueError("EOF found when expecting closing quote")
    if word is not None:
        words.append("".join(word))
    return words


def quote_word(word: str) -> str:
    """Quote one word so that the agent's lexer gives it back.

    Double braces are pulled apart: the agent's document parser would take them for parameters
    to look up (PROTOCOL 6.3).
    """
    if word and re.fullmatch(r"[A-Za-z0-9@%+=:,./_-]+", word):
        return word
    quoted = word.replace("'", "'\"'\"'")
    quoted = re.sub(r"\{(?=\{)", "{''", quoted)
    return f"'{quoted}'"


def _seconds(timeout: float | None) -> str:
    """A time for ``sleep``, without the exponent that busybox refuses; 0 for none."""
    if timeout is None:
        return "0"
    return f"{max(timeout, 0.001):.3f}".rstrip("0").rstrip(".")


def _join(words: list[str]) -> str:
    return " ".join(quote_word(word) for word in words)


def _to_bytes(word: str | bytes) -> bytes:
    return word if isinstance(word, bytes) else word.encode("utf-8", "surrogateescape")


def _is_text(word: bytes) -> bool:
    """Whether a word can stand in the JSON of an API call and come out of the agent unchanged."""
    try:
        text = word.decode("utf-8")
    except UnicodeDecodeError:
        return False
    # U+FFFD is what broken text turns into on its way through JSON encoders: do not rely on it.
    return "\ufffd" not in text


def _check(words: list[str | bytes], *, is_string: bool) -> None:
    if not words:
        raise InvalidRequest("the list of arguments is empty", cure="give at least a program")
    for word in words:
        if not isinstance(word, str | bytes):
            raise InvalidRequest(
                f"an argument is {type(word).__name__}, not str or bytes",
                cure="convert it with str()",
            )
        try:
            raw = _to_bytes(word)
        except UnicodeEncodeError:
            raise InvalidRequest("the command holds a lone surrogate, which is no text") from None
        if b"\0" in raw:
            raise InvalidRequest(
                "the command holds a NUL byte", cause="no program can be given one in an argument"
            )
        if len(raw) > ARGUMENT_LIMIT:
            raise InvalidRequest(
                f"an argument has {len(raw)} bytes, and Linux takes {ARGUMENT_LIMIT}",
                cure="pass the data as stdin, or put it into a file first",
            )
    if is_string and not _to_bytes(words[0]).strip():
        raise InvalidRequest("the command is blank", cure="give a command to run")
    if not is_string and not words[0]:
        raise InvalidRequest("the program's name is empty", cure="give a program to run")


def _as_program(raw: list[bytes], kind: str) -> bytes:
    """Shell text, ASCII only, that sets the positional parameters to these bytes."""
    lines = [b"set --"]
    for word in raw:
        if all(32 <= byte < 127 or byte == 10 for byte in word):
            lines.append(b'set -- "$@" \'' + word.replace(b"'", b"'\"'\"'") + b"'")
        else:
            # A dot guards trailing newlines, which a command substitution would take away.
            octal = b"".join(b"\\%03o" % byte for byte in word)
            lines.append(b'_p=$(printf "' + octal + b'.");set -- "$@" "${_p%.}"')
    if kind == "s":
        lines.append(b'set -- sh -c "$1"')
    return b"\n".join(lines)
