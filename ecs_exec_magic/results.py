"""What a command gave back.

Knows finished output and how to show it. Never knows connections, AWS or notebooks.
"""

from __future__ import annotations

import csv
import io
import re
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .capture import Capture
from .errors import CommandFailed, CommandTimeout, InvalidRequest
from .masking import mask
from .views import parse_json, result_html, size

if TYPE_CHECKING:
    from datetime import datetime

    from .address import ContainerRef

__all__ = ["CommandResult", "OutputEvent", "one_line"]

# Numbers as Linux has them on x86 and ARM: the far end's, whatever the client runs on.
_SIGNALS = (
    "HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP "
    "TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS"
).split()


@dataclass(frozen=True, slots=True)
class OutputEvent:
    """A piece of output, as it came.

    Attributes:
        stream: ``stdout`` or ``stderr``.
        data: the bytes.
        text: the same as text. A character that was cut in two stands whole in the next event of
            its stream, so that joined texts are the text.
    """

    stream: str
    data: bytes
    text: str


@dataclass(frozen=True, eq=False, repr=False)
class CommandResult:
    """Output, exit code and circumstances of one command.

    Attributes:
        exit_code: 0 to 255, or None when it cannot be known.
        timed_out: the command was ended because its time was up.
        truncated: output passed a stated ``max_bytes``; what is kept is its beginning.
        exact: counts and checksums of both streams, as the far end took them, agree with what is
            here. False means that nothing proves the bytes, not that they are wrong.
        duration: seconds from asking for the session to the end of the command.
        started_at: when the session was asked for, with time zone.
        command: what was asked to run: a string, or the list of arguments.
        target: the container it ran in.
        session_id: of Session Manager.
        request_id: of the API call that started the session; CloudTrail has it.
        noise: what reached the terminal outside of both streams, at most 64 KiB.
        missing: what kept this result from being exact, in words; empty when it is.
    """

    exit_code: int | None
    command: str | list[str]
    target: ContainerRef | None = None
    timed_out: bool = False
    exact: bool = False
    duration: float = 0.0
    started_at: datetime | None = None
    session_id: str = ""
    request_id: str = ""
    noise: bytes = b""
    missing: str = ""
    captured_stdout: Capture = field(default_factory=Capture)
    captured_stderr: Capture = field(default_factory=Capture)

    # -- streams ---------------------------------------------------------------------------------

    @property
    def stdout_bytes(self) -> bytes:
        """Standard output, byte for byte."""
        return self.captured_stdout.read()

    @property
    def stderr_bytes(self) -> bytes:
        """Standard error, byte for byte."""
        return self.captured_stderr.read()

    @property
    def stdout(self) -> str:
        """Standard output as text; bytes that are not UTF-8 show as U+FFFD."""
        return self.stdout_bytes.decode("utf-8", "replace")

    @property
    def stderr(self) -> str:
        """Standard error as text; bytes that are not UTF-8 show as U+FFFD."""
        return self.stderr_bytes.decode("utf-8", "replace")

    @property
    def truncated(self) -> bool:
        """Whether output passed a stated ``max_bytes``."""
        return self.captured_stdout.truncated or self.captured_stderr.truncated

    # -- outcome ---------------------------------------------------------------------------------

    @property
    def ok(self) -> bool:
        """Whether the command is known to have ended with exit code 0."""
        return self.exit_code == 0 and not self.timed_out

    def __bool__(self) -> bool:
        return self.ok

    @property
    def signal(self) -> str | None:
        """The signal that ended the command, by the shell's convention of 128 + its number."""
        number = (self.exit_code or 0) - 128
        if not 1 <= number <= len(_SIGNALS):
            return None
        return f"SIG{_SIGNALS[number - 1]}"

    def check(self) -> CommandResult:
        """Return self if the command succeeded.

        Raises:
            CommandTimeout: its time was up.
            CommandFailed: its exit code is not 0, or cannot be known.
        """
        if self.ok:
            return self
        if self.timed_out:
            raise CommandTimeout(
                f"{self._short_command()} was ended: its time was up after {self.duration:.1f} s",
                cure="allow more time with timeout=; what it printed is in .result",
                result=self,
            )
        where = f" in {self.target}" if self.target else ""
        if self.exit_code is None:
            raise CommandFailed(
                f"{self._short_command()} ended with an unknown exit code{where}",
                cause=self.missing,
                result=self,
            )
        how = f" ({self.signal})" if self.signal else ""
        raise CommandFailed(
            f"{self._short_command()} ended with exit code {self.exit_code}{how}{where}",
            cause=_EXIT_CAUSES.get(self.exit_code, ""),
            cure=_UNQUOTED if self.exit_code == 127 and _is_one_word(self.command) else "",
            result=self,
        )

    # -- as data ---------------------------------------------------------------------------------

    @property
    def lines(self) -> Any:
        """Lines of stdout as IPython's ``SList``, with its ``.grep()``, ``.fields()``, ``.n``."""
        from IPython.utils.text import SList

        return SList(_split_lines(self.stdout))

    def json(self) -> Any:
        """Stdout read as JSON; one value, or a list of them when there is one on each line."""
        return parse_json(self.stdout)

    def table(self, sep: str | None = None) -> list[dict[str, Any]]:
        """Stdout read as a table whose first line names the columns.

        Reads JSON lists of objects, tab- or comma-separated lines, aligned columns, and columns
        divided by blanks, of which the last takes the rest of the line (as ``ps aux`` prints).

        Args:
            sep: the separator, when it should not be found out; one character.

        Raises:
            InvalidRequest: the separator is none, or fields are quoted beyond reading.
        """
        text = self.stdout
        if sep is None and text.lstrip()[:1] in ("[", "{"):
            try:
                rows = self.json()
            except ValueError:
                pass
            else:
                rows = rows if isinstance(rows, list) else [rows]
                if all(isinstance(row, dict) for row in rows):
                    return rows
        return _read_table(text, sep)

    def dataframe(self, sep: str | None = None) -> Any:
        """:meth:`table` as a pandas DataFrame.

        Raises:
            InvalidRequest: pandas is not installed.
        """
        try:
            import pandas
        except ImportError:
            raise InvalidRequest(
                "dataframe() needs pandas", cure="pip install pandas, or use table()"
            ) from None
        return pandas.DataFrame(self.table(sep))

    def tail(self, n: int = 10, stream: str = "stdout") -> str:
        """The last ``n`` lines of ``stdout`` or ``stderr``."""
        capture = self.captured_stderr if stream == "stderr" else self.captured_stdout
        return capture.last_lines(n).decode("utf-8", "replace")

    # -- as text ---------------------------------------------------------------------------------

    def __str__(self) -> str:
        return self.stdout

    def __repr__(self) -> str:
        return f"<CommandResult {self._short_command()}: {self._outcome()}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CommandResult):
            return NotImplemented
        return self.__dict__ == other.__dict__

    __hash__ = None  # type: ignore[assignment]  # its streams can be large and are compared by value

    def _short_command(self) -> str:
        return repr(self._one_line())

    def _one_line(self) -> str:
        return one_line(self.command)

    def _outcome(self) -> str:
        if self.timed_out:
            code = "timed out"
        elif self.exit_code is None:
            code = "exit code unknown"
        else:
            code = f"exit code {self.exit_code}" + (f" ({self.signal})" if self.signal else "")
        streams = {"stdout": self.captured_stdout, "stderr": self.captured_stderr}
        sizes = ", ".join(f"{size(len(c))} {name}" for name, c in streams.items() if len(c))
        notes = ", truncated" if self.truncated else ""
        notes += "" if self.exact else ", not verified"
        return f"{code}, {sizes or 'no output'}, {self.duration:.2f} s{notes}"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/plain": repr(self), "text/html": result_html(self)}


def one_line(command: str | list[str], width: int = 60) -> str:
    """A command for people: one line of bounded length, of a script its first, secrets masked."""
    text = mask(command if isinstance(command, str) else shlex.join(command)).text
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()] or [""]
    more = f" (+{len(lines) - 1} lines)" if len(lines) > 1 else ""
    width -= len(more)
    return (lines[0] if len(lines[0]) <= width else lines[0][: width - 1] + "…") + more


_EXIT_CAUSES = {
    126: "the shell found the program but may not execute it",
    127: "the program is not in the container's image, or not on its PATH",
    137: "the command was killed: by the out-of-memory killer, a stop of the task, or somebody",
}

_UNQUOTED = (
    "all of it was taken for the name of one program; write it without quotes around the whole"
)


def _is_one_word(command: str | list[str]) -> bool:
    """Whether a command is a single quoted word with blanks in it, as `'ls -l; df'`."""
    try:
        words = shlex.split(command) if isinstance(command, str) else command
    except ValueError:
        return False
    return len(words) == 1 and len(words[0].split()) > 1


def _split_lines(text: str) -> list[str]:
    """Lines as a Unix tool counts them; ``str.splitlines`` also breaks at U+2028 and its like."""
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    return [line[:-1] if line.endswith("\r") else line for line in lines]


# Names of columns in common tools that are two words with one blank between them.
_TWO_WORDS = re.compile(
    r"Mounted on|Local Address(?::Port)?|(?:Foreign|Peer) Address(?::Port)?|PID/Program name"
)


def _read_table(text: str, sep: str | None) -> list[dict[str, Any]]:
    lines = [line for line in _split_lines(text) if line.strip()]
    if not lines:
        return []
    header, rows = lines[0], lines[1:]
    if sep is None and "\t" in header:
        sep = "\t"
    if sep is None and "," in header and rows and all("," in row for row in rows):
        sep = ","
    if sep is not None:
        return _read_separated(text, sep)
    starts = _aligned_columns(header, rows)
    if starts:
        ends = [*starts[1:], None]
        spans = list(zip(starts, ends, strict=True))
        names = _unique([header[a:b].strip() for a, b in spans])
        return [dict(zip(names, (row[a:b].strip() for a, b in spans), strict=True)) for row in rows]
    bound = _TWO_WORDS.sub(lambda match: match[0].replace(" ", "\0"), header)
    names = _unique([name.replace("\0", " ") for name in bound.split()])
    if _rows_have_labels(header, rows):
        names.insert(0, "")  # as `free` prints: the first column has no name
    found = []
    for row in rows:
        cells = row.split(None, len(names) - 1)
        if len(cells) > 1 or len(names) == 1:
            cells += [""] * (len(names) - len(cells))
            found.append(dict(zip(names, map(str.rstrip, cells), strict=True)))
    return found


def _read_separated(text: str, sep: str) -> list[dict[str, Any]]:
    if len(sep) != 1 or sep in '\r\n"':
        raise InvalidRequest(f"{sep!r} is not a separator", cure="give sep=, one character")
    try:
        table = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=sep) if row]
    except (csv.Error, TypeError, ValueError) as error:
        raise InvalidRequest(
            f"stdout cannot be read as a table: {error}",
            cure="give sep=, one character, or read stdout itself",
        ) from None
    if not table:
        return []
    width = max(map(len, table))
    names = _unique([*table[0], *[""] * (width - len(table[0]))])
    return [dict(zip(names, [*row, *[""] * (width - len(row))], strict=True)) for row in table[1:]]


def _unique(names: list[str]) -> list[str]:
    """The same names, with a number behind those that are there already, so that none is lost."""
    seen: set[str] = set()
    unique = []
    for index, name in enumerate(names):
        new, number = name, 2
        while new in seen or (new != name and new in names[index + 1 :]):
            new, number = f"{name}_{number}", number + 1
        seen.add(new)
        unique.append(new)
    return unique


def _rows_have_labels(header: str, rows: list[str]) -> bool:
    """Whether the first word of every row ends left of where the header begins."""
    indent = len(header) - len(header.lstrip())
    return bool(rows) and all(
        (match := re.match(r"\S+", row)) is not None and match.end() < indent for row in rows
    )


def _aligned_columns(header: str, rows: list[str]) -> list[int]:
    """Offsets of columns, if names with blanks inside them make counting words impossible."""
    starts = [match.start() for match in re.finditer(r"(?:(?<=\s\s)|^)\S", header)]
    names = re.split(r"\s{2,}", header.strip())
    if len(starts) < 2 or not any(" " in name for name in names) or _TWO_WORDS.search(header):
        return []
    for row in rows:
        for start in starts[1:]:
            if start < len(row) and not row[start - 1].isspace():
                return []  # right-aligned figures stand under the names: columns are not these
    return starts
