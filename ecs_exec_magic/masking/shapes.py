"""What secrets look like in one line of text.

Knows the shapes of keys and tokens, and who has the words for the other secrets. Never knows lines
before or behind.

Every search takes time in proportion to the text, whoever wrote it: each pattern begins with fixed
words, and what repeats in it is bounded or cannot hold another beginning of the same pattern.
"""

from __future__ import annotations

import bisect
import re
from typing import TYPE_CHECKING

from .named import authorization, login, named, options, pairs
from .values import MARK, Span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Finder = Callable[[str], Iterator[Span]]

__all__ = [
    "KEY_BEGIN",
    "KEY_END",
    "URL_PASSWORD",
    "masked_line",
    "spans",
    "suspicious",
    "unfinished",
]

KEY_BEGIN = re.compile(r"-{4,5} ?BEGIN (?:[A-Z0-9]{1,16} ){0,4}PRIVATE KEY(?: BLOCK)? ?-{4,5}")
KEY_END = re.compile(r"-{4,5} ?END (?:[A-Z0-9]{1,16} ){0,4}PRIVATE KEY(?: BLOCK)? ?-{4,5}")
"""First and last line of a private key (RFC 7468, RFC 4880, RFC 4716)."""

URL_PASSWORD = re.compile(
    r"://[^\s/@:\"'<>?#]{0,256}:(?P<secret>[^\s/\"'<>]{1,2048}(?=@(?!sha256:))"
    # Base64 has slashes, but behind digits they begin a path.
    r"|(?!\d{1,5}/)[^\s\"'<>@?#]{1,256}(?=@(?!sha256:)[\w.-]{1,253}(?:[:/?\s\"']|\Z)))"
)
"""The password of ``scheme://user:password@host``."""

# Not the end of a longer word, nor of one that had a secret in it.
_ALONE = r"(?:(?<![A-Za-z0-9_-])(?<!masked\])|(?<=\\[nrt]))"

# By the words, in lower case, that are in every text which can match.
_TOKENS: list[tuple[tuple[str, ...], re.Pattern[str]]] = [
    (
        ("akia", "asia"),
        # The secret key stands right behind its id in tables and CSV files.
        re.compile(
            r"(?<![A-Z0-9])(?P<secret>(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Z0-9]))"
            r"(?:[\s,:;|\"'/]{1,8}(?P<more>[A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=]))?"
        ),
    ),
    (
        ("iqojb3jpz2lu", "ogzxivyxdz"),
        re.compile(r"(?P<secret>(?:IQoJb3JpZ2lu|F[Qw]oGZXIvYXdz)[A-Za-z0-9+/=%_-]{60,})"),
    ),
    (
        ("eyj",),
        re.compile(
            _ALONE + r"(?P<secret>eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){0,3})"
        ),
    ),
    (
        ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"),
        re.compile(r"(?P<secret>gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{22,})"),
    ),
    (
        ("glpat-", "gldt-", "glrt-", "glptt-", "glcbt-", "glsoat-", "glft-", "glimt-", "glagent-"),
        re.compile(
            r"(?P<secret>gl(?:pat|dt|rt|ptt|cbt|soat|ft|imt|agent)-[A-Za-z0-9_-]{16,}[A-Za-z0-9_.-]*)"
        ),
    ),
    (
        ("xox", "xapp-", "hooks.slack.com"),
        re.compile(
            r"(?P<secret>xox[abeoprs]-[A-Za-z0-9-]{10,}|xapp-\d-[A-Za-z0-9-]{10,}"
            r"|(?<=hooks\.slack\.com/services/)[A-Za-z0-9/]{16,})"
        ),
    ),
    (
        ("k_live_", "k_test_", "whsec_"),
        re.compile(r"(?P<secret>[sr]k_(?:live|test)_[A-Za-z0-9]{10,}|whsec_[A-Za-z0-9+/=]{16,})"),
    ),
    (
        ("aiza", "ya29.", "gocspx-"),
        re.compile(
            r"(?P<secret>AIza[A-Za-z0-9_-]{35}|ya29\.[A-Za-z0-9_-]{20,}|GOCSPX-[A-Za-z0-9_-]{20,})"
        ),
    ),
    (
        ("sk-",),
        re.compile(
            _ALONE
            + r"(?P<secret>sk-(?:(?:ant|proj|svcacct|or)-[A-Za-z0-9_-]{20,}|[A-Za-z0-9]{32,}))"
        ),
    ),
    (
        ("npm_", "hf_", "dckr_pat_", "pypi-age", "hvs.", "hvb.", "_v1_", "shp", "dapi"),
        re.compile(
            _ALONE
            + r"(?P<secret>npm_[A-Za-z0-9]{36}|hf_[A-Za-z0-9]{30,}|dckr_pat_[A-Za-z0-9_-]{20,}"
            r"|pypi-AgE[A-Za-z0-9_-]{50,}|hv[sb]\.[A-Za-z0-9_-]{20,}|do[opr]_v1_[a-f0-9]{64}"
            r"|shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}|dapi[a-f0-9]{32})"
        ),
    ),
    (
        ("sg.",),
        re.compile(_ALONE + r"(?P<secret>SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,})"),
    ),
    # Hashes of crypt(3), as in /etc/shadow.
    (
        ("$1$", "$2", "$5$", "$6$", "$7$", "$y$", "$gy$", "$argon2"),
        re.compile(
            r"(?P<secret>\$(?:1|2[abxy]?|5|6|7|g?y|argon2(?:id?|d))\$"
            r"(?:[A-Za-z0-9./$=+-]|,(?=[a-z]=)){20,})"
        ),
    ),
    (("://",), URL_PASSWORD),
]


def _shaped(pattern: re.Pattern[str]) -> Finder:
    def find(text: str) -> Iterator[Span]:
        for match in pattern.finditer(text):
            for group in pattern.groupindex:
                start, end = match.span(group)
                # The URL of a proxy can come masked already.
                if start < end and text[start:end] != MARK:
                    yield Span(match.start(), start, end)

    return find


_BASE64_WORD = re.compile(r"[A-Za-z0-9+/=]{20}")
_KEY_BODY = re.compile(
    r"(?:Proc-Type: 4,ENCRYPTED|DEK-Info: [A-Z0-9-]{1,32},[0-9A-F]{0,64}|[A-Za-z0-9+/=\s]|\\[nrt])*"
)


def _keys(text: str) -> Iterator[Span]:
    """Private keys within one line, as JSON and environments hold them."""
    position, ends = 0, [match.start() for match in KEY_END.finditer(text)]
    while (begin := KEY_BEGIN.search(text, position)) is not None:
        start = position = begin.end()
        following = bisect.bisect_left(ends, start)
        if following < len(ends):
            stop = position = ends[following]
        else:
            body = _KEY_BODY.match(text, start)
            stop = body.end() if body and _BASE64_WORD.search(body[0]) else start
        if start < stop and text[start:stop] not in ("", MARK):
            yield Span(begin.start(), start, stop)


# By words, one of which is in every text (in lower case) that can match.
_FINDERS: list[tuple[tuple[str, ...], Finder]] = [
    *((words, _shaped(pattern)) for words, pattern in _TOKENS),
    (("private key",), _keys),
    (("pass", "pwd", "secret", "token", "key", "signature"), named),
    (("--",), options),
    (("authorization", "bearer"), authorization),
    (("login", "curl"), login),
]
# Options and logins tell nothing without a word that the other finders look for as well.
_SUSPICIOUS = tuple({word for words, _ in _FINDERS for word in words} - {"--", "login"})


def suspicious(text: str) -> bool:
    """Whether a text, of any number of lines, may hold something for :func:`spans` to find."""
    low = text.lower()
    return any(word in low for word in _SUSPICIOUS)


def spans(text: str, *, after_name: bool = False) -> list[Span]:
    """The secrets in one line, in order; none overlaps another.

    Args:
        text: without control sequences.
        after_name: the line before named a secret whose value comes now.
    """
    found = _joined(_look(text, after_name))
    if not found:
        return found
    # What remains must not look like a secret, either: where two overlap, the end of one is gone.
    for _ in range(_PASSES):
        shown, places = _masked(text, found)
        more = [_back(span, places) for span in _look(shown, after_name)]
        if not more:
            break
        found = _joined(found + more)
    return found


_PASSES = 4


def _look(text: str, after_name: bool) -> list[Span]:
    low = text.lower()
    found = [
        span
        for words, finder in _FINDERS
        if any(word in low for word in words)
        for span in finder(text)
    ]
    if after_name or ("name" in low and "value" in low):
        found += pairs(text, after_name)
    return found


def _joined(found: list[Span]) -> list[Span]:
    joined: list[Span] = []
    for span in sorted(found, key=lambda span: span.start):
        if joined and span.start < joined[-1].end:
            last = joined[-1]
            begin, end = min(span.begin, last.begin), max(span.end, last.end)
            joined[-1] = Span(begin, last.start, end)
        else:
            joined.append(span)
    return joined


def masked_line(text: str, found: list[Span]) -> str:
    """A line with marks for the secrets that were found in it."""
    return _masked(text, found)[0]


def _masked(text: str, found: list[Span]) -> tuple[str, list[tuple[int, Span]]]:
    """The text with marks, and where each mark stands."""
    pieces: list[str] = []
    places: list[tuple[int, Span]] = []
    size = position = 0
    for span in found:
        pieces += (text[position : span.start], MARK)
        size += span.start - position
        places.append((size, span))
        size, position = size + len(MARK), span.end
    return "".join((*pieces, text[position:])), places


def _back(span: Span, places: list[tuple[int, Span]]) -> Span:
    """A span of a text with marks as one of the text without; it covers the marks that it meets."""

    def original(offset: int, *, is_end: bool) -> int:
        index = bisect.bisect_right(places, offset, key=lambda place: place[0]) - 1
        if index < 0:
            return offset
        place, secret = places[index]
        beyond = offset - place - len(MARK)
        if beyond >= 0:
            return secret.end + beyond
        return secret.end if is_end and offset > place else secret.start

    return Span(
        original(span.begin, is_end=False),
        original(span.start, is_end=False),
        original(span.end, is_end=True),
    )


_TAIL = 1024
_UNFINISHED = re.compile(
    r"(?:(?:AKIA|ASIA)[A-Z0-9]{0,15}"
    r"|(?:AKIA|ASIA)[A-Z0-9]{16}[\s,:;|\"'/]{0,8}[A-Za-z0-9/+]{0,39}"
    r"|IQoJb[A-Za-z0-9+/=%_-]*|F[Qw]oGZ[A-Za-z0-9+/=%_-]*"
    r"|(?:(?<![A-Za-z0-9_-])|(?<=\\[nrt]))(?:"
    r"eyJ|gh[pousr]_|github_|gl[a-z]{2,5}-|xox|xapp-|[sr]k_|whsec_|AIza|ya29|GOCSPX|sk-|npm_|hf_"
    r"|dckr_|pypi-|hv[sb]\.|do[opr]_v1_|shp|dapi|SG\.)[A-Za-z0-9_.-]*"
    r"|hooks\.slack\.com/services/[A-Za-z0-9/]*"
    r"|\$(?:[1567y]|2[abxy]?|argon2)\$\S*"
    r"|[Bb][Ee][Aa][Rr][Ee][Rr][ \t]+[A-Za-z0-9._~+/=-]*"
    r"|://[^\s/@:\"'<>?#]*:(?!\d{1,5}(?:[/?#]|\Z))[^\s\"'<>]+"
    r"|(?i:pass|secret|token|key)[A-Za-z]{0,8}>[^<]*"
    r"|PRIVATE KEY(?: BLOCK)? ?-{4,5}[A-Za-z0-9+/=\s\\]*"
    r")\Z"
)


def unfinished(text: str) -> int:
    """Where in a line that may go on something begins that may become a secret.

    Returns:
        its offset, or the length of the text.
    """
    match = _UNFINISHED.search(text, max(0, len(text) - _TAIL))
    return match.start() if match else len(text)
