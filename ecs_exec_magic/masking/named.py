"""Secrets that have a name beside them: ``password=x``, ``"api_key": "x"``, ``--token x``.

Knows the names, and how configuration, programs and people write values beside them. Never knows
secrets that can be told by their own shape.
"""

from __future__ import annotations

import bisect
import re
from typing import TYPE_CHECKING

from .values import QUOTE, Span, bare, closes, harmless, quoted, rest

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["AWS_NAMES", "authorization", "login", "name_alone", "named", "options", "pairs"]

AWS_NAMES = r"secret_?access_?key|session_?token|x-amz-security-token"
"""Names of the secrets of AWS credentials, as a pattern."""

# Whatever stands before such a word belongs to the name (DB_PASSWORD, userPassword, X-Auth-Token);
# what follows it makes it another (password_file, token_count, SecretArn).
_WORDS = rf"""
    pass(?:word|wd|phrase|code)\d?
  | {AWS_NAMES} | secret_key_base
  | (?:api|app|access|secret|private|signing|encryption|auth|master|account|shared|consumer)
    (?:[_-]?secret|[_-]?access)?[_-]?key
  | secret | token(?:_?value)? | x-amz-signature
"""
# `PASS: test_it` is no password, nor is PWD of every environment: only where they are parts of
# longer names, of connection strings or of JSON.
_SHORT_WORDS = r"""
    (?<=[a-z0-9]_)(?:pass|pwd) | (?<![\w.-])pass(?==) | (?<=[;?&])pwd(?==) | (?<=["'])pwd(?=["'])
"""
_BETWEEN = (
    r"""(?P<closed>\\{0,7}["'])?\]?(?P<blanks>[ \t]{0,64})(?P<separator>:=|=>|==?|:|>)[ \t]{0,64}"""
)

_NAMED = re.compile(
    rf"(?P<word>{_WORDS}|{_SHORT_WORDS}){_BETWEEN}", re.IGNORECASE | re.ASCII | re.VERBOSE
)
_OPTION = re.compile(
    rf"""
    (?<![\w-])(?<!masked\])--(?:[a-z0-9]{{1,24}}[-_]){{0,4}}(?P<word>{_WORDS})
    (?:[ ](?=[^\s-])|\\{{0,7}}["'],[ \t]{{0,8}}(?=\\{{0,7}}["']))
    """,
    re.IGNORECASE | re.ASCII | re.VERBOSE,
)

_NAME_PART = re.compile(r"[\w.$-]{0,64}\Z", re.ASCII)
_LINE_START = re.compile(r"\s*(?:[-*+>|]\s{1,8})?(?:export\s+)?[\"']?\Z")
# Tokens by which programs turn pages, recognise a request that comes twice, and count words;
# NOPASSWD of sudo.
_OTHER_THINGS = re.compile(
    r"(?:next|page|paging|continuation|client|request|idempotency|start|starting|cancellation|max|"
    r"min)[_-]?token\Z|\Wno(?:passwd|password)\Z",
    re.IGNORECASE | re.ASCII,
)
# A call or a look-up: programs have their secrets from somewhere.
_CODE = re.compile(
    r"(?:await |new )?[A-Za-z_$][\w.:>$-]{0,80}(?:\([^()]{0,200}\)|\[[^\[\]]{0,200}\])"
    r"(?=[\s;:,.(){}\[\]]|\Z)"
)
_TOKEN = re.compile(r"(?:(?!----)[A-Za-z0-9_./+=~:-])+", re.ASCII)
# `root:x:0:0`; `Token::new`; `https://` of a host that has such a name
# `passwd:amd64`, which is a package
_NO_VALUE = re.compile(r"[x*!]{0,2}:\d*:|:|//|(?:amd64|arm64|i386|all|any)\b")
_NAME_SERVICES = re.compile(
    r"(?:(?:files|compat|db|sss|systemd|nis|nisplus|ldap|winbind|dns|cache|mymachines|\[[^\]]*\])"
    r"(?:\s+|\Z))+"
)
_PATH = re.compile(r"[~.]{0,2}/[\w./-]*|[\w${}./-]*\.(?:pem|key)#?")
_SHORTEST_KEY = 4


def named(text: str) -> Iterator[Span]:
    """Secrets behind a name and a separator."""
    position = 0
    while (match := _NAMED.search(text, position)) is not None:
        position = match.end()
        span = _value(text, match)
        if span is None:
            continue
        start, end = span
        if start < end and not harmless(text, start, end):
            yield Span(match.start(), start, end)
        position = max(position, end)


def _value(text: str, match: re.Match[str]) -> tuple[int, int] | None:
    word, separator, position = match["word"].lower(), match["separator"], match.end()
    part = _NAME_PART.search(text, max(0, match.start() - 64), match.start())
    begin = part.start() if part else match.start()
    prefix = text[begin : match.start()]
    if _is_other(text, match, begin, prefix):
        return None
    if separator == ">":
        end = text.find("<", position)
        is_element = text[begin - 1 : begin] == "<" and text.startswith("</", end)
        return (position, end) if end >= 0 and is_element else None
    opening = QUOTE.match(text, position)
    if opening is not None:
        span = None if closes(text, opening) else quoted(text, opening)
        is_path = word == "pwd" and text[opening.end() : opening.end() + 1] in ("/", "~")
        return None if is_path or (span and _is_too_short(word, span)) else span
    spaced = text[position - 1] in " \t"
    start, end = bare(text, position)
    if _is_too_short(word, (start, end)):
        return None
    if "private" in word and _PATH.fullmatch(text, start, end):
        return None
    at_start = begin < 200 and _LINE_START.match(text, 0, begin) is not None
    if separator == "=" and spaced and not at_start and match["blanks"] == "":
        return None  # `password= version=`: an assignment of nothing
    in_braces = text[max(0, begin - 4) : begin].rstrip()[-1:] in ("{", "(", ",", '"', "'", "\\")
    if separator == ":" and word in ("token", "secret") and not prefix and not in_braces:
        # `Unexpected token: x`, `image secret:latest`: mostly words of the language.
        is_alone = spaced and (word == "secret" or (at_start and _is_last(text, end)))
        if not is_alone and not _like_token(text[start:end]):
            return None
    if not (at_start and spaced and word.startswith(("pass", "secret", "private", "encryption"))):
        return start, end
    if separator == ":" and word == "passwd" and not prefix:
        # The program of that name begins its messages with it, and so does /etc/nsswitch.conf.
        is_value = _is_last(text, end) and not _NAME_SERVICES.fullmatch(text, position)
        return (start, end) if is_value else None
    return rest(text, position)  # YAML and INI


def _is_other(text: str, match: re.Match[str], begin: int, prefix: str) -> bool:
    """Whether a name, with what follows it, is something else than a name and its value."""
    word, separator, position = match["word"].lower(), match["separator"], match.end()
    following = text[position : position + 64]
    spaced = text[position - 1] in " \t"
    if _OTHER_THINGS.search(text, max(0, begin - 1), match.end("word")):
        return True
    if separator in ("=", "=="):
        if separator == "==" and not word.startswith("pass"):
            return True  # a comparison, mostly of the words of a language
        if following[:1] in ("=", "~") and not spaced:
            return True  # `===`, `=~`
    if (match["closed"] or (spaced and separator == "=")) and _CODE.match(text, position):
        return True
    if separator == ":" and not spaced and _NO_VALUE.match(following):
        return True
    if separator == ":" and not spaced and text[begin - 1 : begin] == "/":
        return True  # the end of a path, as in `-v /run/secrets/token:/token`
    if word == "pass" and not prefix and following[:1].isdigit():
        return True  # a count
    return word == "pwd" and following[:1] in ("/", "~")


def _is_too_short(word: str, span: tuple[int, int]) -> bool:
    """Whether a value is a key of a keyboard, as in ``accesskey="h"``."""
    return word.endswith("key") and span[1] - span[0] < _SHORTEST_KEY


def _is_last(text: str, end: int) -> bool:
    """Whether nothing but a comment follows."""
    following = text[end:].lstrip(" \t,;\"'`)}]")
    return not following or following.startswith("#")


def _like_token(value: str) -> bool:
    mixed = any(char.isdigit() for char in value) and any(char.isalpha() for char in value)
    return len(value) >= (8 if mixed else 20) and _TOKEN.fullmatch(value) is not None


def options(text: str) -> Iterator[Span]:
    """Secrets behind an option: ``--password x``, also as words of a JSON list."""
    for match in _OPTION.finditer(text):
        opening = QUOTE.match(text, match.end())
        if opening and closes(text, opening):
            continue
        start, end = quoted(text, opening) if opening else bare(text, match.end())
        value = text[start:end]
        # The help texts of programs name what is to be given: PASSWORD, or in lower case with
        # blanks behind it.
        told = opening is None and (
            value.isalpha() and (value.isupper() or text[end : end + 2] == "  ")
        )
        if start < end and value[:1] not in "[<-" and not told and not harmless(text, start, end):
            yield Span(match.start(), start, end)


_NAME_VALUE = re.compile(
    rf"""
    ["']?\bname["']?[ \t]{{0,16}}[:=][ \t]{{0,16}}["']?[\w.-]{{0,64}}?(?:{_WORDS}|(?<=_)pass)["']?
    (?:[ \t]{{0,16}},[ \t]{{0,16}}["']?value["']?[ \t]{{0,16}}[:=][ \t]{{0,16}}|(?P<end>[ \t,]*\Z))
    """,
    re.IGNORECASE | re.ASCII | re.VERBOSE,
)
_VALUE = re.compile(r"[\s-]*[\"']?value[\"']?[ \t]{0,16}[:=][ \t]{0,16}", re.IGNORECASE)


def pairs(text: str, after_name: bool) -> Iterator[Span]:
    """Secrets in ``"name": "DB_PASSWORD", "value": "x"``, as task definitions have them.

    Args:
        after_name: the line before this one ended with such a name.
    """
    matches = [match for match in _NAME_VALUE.finditer(text) if match["end"] is None]
    if after_name and (match := _VALUE.match(text)):
        matches.append(match)
    for match in matches:
        opening = QUOTE.match(text, match.end())
        start, end = quoted(text, opening) if opening else rest(text, match.end())
        if start < end and not harmless(text, start, end):
            yield Span(match.start(), start, end)


def name_alone(text: str) -> bool:
    """Whether a line ends with a name whose value is in the next one."""
    return any(match["end"] is not None for match in _NAME_VALUE.finditer(text))


_AUTHORIZATION = re.compile(
    r"""
    authorization(?:\\{0,7}["'])?[ \t]{0,64}[:=][ \t]{0,64}(?:\[(?!masked\]))?
    (?P<quote>\\{0,7}["'])?
    (?P<scheme>(?:Bearer|Basic|Digest|Token|Negotiate|NTLM|ApiKey|OAuth|Hawk|GoogleLogin|
        AWS4?(?:-HMAC-SHA256)?|[A-Z][A-Za-z0-9]{2,20}-[A-Z0-9-]{2,20})[ ]{1,8})?
    """,
    re.IGNORECASE | re.ASCII | re.VERBOSE,
)
_OF_SEVERAL_WORDS = ("digest", "hawk", "oauth", "aws4-hmac-sha256")
_BLANK = re.compile(r"\s")
_BEARER = re.compile(r"\bbearer[ \t]{1,8}", re.IGNORECASE | re.ASCII)
_CLOSING = re.compile(r"\\{0,7}[\"'`]")


def authorization(text: str) -> Iterator[Span]:
    """Secrets of Authorization headers, and bearer tokens wherever they are."""
    closings = [match.start() for match in _CLOSING.finditer(text)]
    last = 0
    for match in _AUTHORIZATION.finditer(text):
        start = match.end()
        if start < last or _CODE.match(text, start):
            continue
        following = bisect.bisect_left(closings, start)
        end = closings[following] if following < len(closings) else len(text)
        end = start + len(text[start:end].rstrip())
        blank = _BLANK.search(text, start, end)
        scheme = (match["scheme"] or "").strip().lower()
        if blank is not None and scheme and scheme not in _OF_SEVERAL_WORDS:
            end, blank = blank.start(), None
        # Without a scheme it is prose if there are several words.
        is_one = scheme or blank is None
        if start < end and is_one and not harmless(text, start, end):
            yield Span(match.start(), start, end)
            last = end
    for match in _BEARER.finditer(text):
        token = _TOKEN.match(text, match.end())
        if token and _like_token(token[0]):
            yield Span(match.start(), *token.span())


_LOGIN = re.compile(
    r"\b(?:machine[ \t]{1,8}\S{1,200}|default)[ \t]{1,8}login[ \t]{1,8}\S{1,200}[ \t]{1,8}"
    r"password[ \t]{1,8}[\"']?"
)
_CURL_USER = re.compile(r"(?<!\S)(?:-u|--(?:proxy-)?user)[ \t=]{0,4}[\"']?[^\s:\"']{1,128}:")


def login(text: str) -> Iterator[Span]:
    """Passwords of ~/.netrc lines, and of curl's ``-u user:password``."""
    for match in _LOGIN.finditer(text):
        start, end = bare(text, match.end())
        if not harmless(text, start, end):
            yield Span(match.start(), start, end)
    if "curl" in text:
        for match in _CURL_USER.finditer(text):
            start, end = bare(text, match.end())
            if start < end and not harmless(text, start, end):
                yield Span(match.start(), start, end)
