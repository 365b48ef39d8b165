"""Keeping tokens, keys and passwords out of texts.

Knows what secrets look like in AWS's texts. Never knows what the texts are for.
"""

from __future__ import annotations

import re

from ..masking import AWS_NAMES, URL_PASSWORD

__all__ = ["one_line", "redact", "tells_secrets", "text_of"]

_SECRET = re.compile(
    rf"(?P<key>{AWS_NAMES}|token_?value|access_?token|"
    r"x-amz-signature|\bsignature(?==)|plaintext|client_?secret|refresh_?token)"
    r"(?P<between>[\\\"']*\s*[:=>]\s*b?[\\\"']*)"
    r"(?P<value>[^\s\\\"'<>&,;}]+)",
    re.IGNORECASE,
)


def redact(text: str) -> str:
    """Take out tokens, keys, signatures, and passwords in URLs."""
    text = _SECRET.sub(lambda match: f"{match['key']}{match['between']}[hidden]", text)
    return URL_PASSWORD.sub(_without_password, text)


def _without_password(match: re.Match[str]) -> str:
    return f"{match[0][: match.start('secret') - match.start()]}[hidden]"


def tells_secrets(exc: BaseException | None) -> bool:
    """Whether the text of an error, or of one it came from, holds something to be hidden."""
    seen: set[int] = set()
    while exc is not None and id(exc) not in seen:
        seen.add(id(exc))
        text = f"{text_of(exc)} {exc.args!r} {getattr(exc, 'response', '')!r}"
        if redact(text) != text:
            return True
        exc = exc.__cause__ or exc.__context__
    return False


def text_of(exc: BaseException) -> str:
    """What an error says; an error that cannot even say that is told by its class."""
    try:
        return str(exc)
    except Exception:  # noqa: BLE001 - it must not hide the error that is to be told
        return type(exc).__name__


def one_line(text: str, limit: int = 400) -> str:
    """A text without secrets, in one line of bounded length."""
    text = " ".join(redact(text).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"
