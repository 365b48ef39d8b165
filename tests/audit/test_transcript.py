"""Session logs made readable: nothing printable is lost, and nothing raises."""

from __future__ import annotations

import base64
import io
import re
import string
from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecs_exec_magic.audit.transcript import transcript
from ecs_exec_magic.sandbox.transcripts import log_events

HEAD = (
    b'Script started on 2026-11-28 05:57:50+00:00 [COMMAND="cat /var/lib/amazon/ssm/'
    b"demo_%s_%s-42/session/orchestration/ecs-execute-command-a/InteractiveCommands/"
    b'ipcTempFile.log" <not executed on terminal>]\n'
) % (b"a" * 32, b"a" * 32)
FOOT = b'\nScript done on 2026-11-28 05:57:52+00:00 [COMMAND_EXIT_CODE="0"]\n'
SECRET = b"s3cr3tW0rdOfTheRun/24chr"


def in_s3(shown: bytes) -> bytes:
    """A log as ``script`` writes it."""
    return HEAD + shown.replace(b"\n", b"\r\n") + FOOT


def in_cloudwatch(shown: bytes, limit: int = 200_000) -> bytes:
    """The same as it is read back from CloudWatch Logs."""
    return "\n".join(log_events(io.BytesIO(in_s3(shown)), limit)).encode()


def frame(stream: bytes, body: bytes, kind: bytes = b"t") -> bytes:
    sent = base64.b64encode(body) if kind == b"b" else body
    sent = body.hex().encode() if kind == b"x" else sent
    return b"\x1e%s %s %s %d\n%s\n" % (SECRET, stream, kind, len(sent), sent)


def wrapped(pieces: list[tuple[bytes, bytes, bytes]], code: int = 3) -> bytes:
    mark = b"\x1e" + SECRET + b"\x1e"
    out = b"\x1eabcdef0123456789 B 1 r base64- cksum- setsid- %s\n" % SECRET
    out += b"".join(frame(*piece) for piece in pieces)
    out += frame(b"o", mark + b" %d 0 " % code + mark) + b"\x1e%s z o 1 2\n" % SECRET
    return out + frame(b"e", mark + mark) + b"\x1e%s z e 1 2\n" % SECRET


def test_every_command_of_a_kept_shell_is_shown() -> None:
    mark = b"\x1e" + SECRET + b"\x1e"

    def short(stream: bytes, kind: bytes, body: bytes) -> bytes:
        end = b"z" if mark in body or kind == b"q" else b"-"
        return b"\x1e%s %s %s %d 1.2 %s %s\n" % (SECRET, stream, kind, len(body), end, body)

    log = b"\x1eabcdef0123456789 B 1 r base64- cksum- setsid- %s\n" % SECRET
    for code, text in enumerate((b"one\x1a", b"two\x1a"), 4):
        log += short(b"o", b"n", text + mark + b" %d c " % code + mark)
        log += short(b"e", b"n", b"err\x1a" + mark + mark)
    late = b"".join(b"%03o" % each for each in b"a\0b\n" + mark + b" 6 c " + mark)
    log += short(b"o", b"q", late) + short(b"e", b"n", mark + mark)
    # What wakes the far end's pump is shown nowhere, be it cut in two by the end of a piece.
    wake = mark[:-1] + b"w"
    log += short(b"e", b"n", mark + mark + wake[:5]) + short(b"e", b"n", wake[5:] + b"x\x1a" + wake)
    log += short(b"e", b"n", wake[:9])
    for stored in (in_s3, in_cloudwatch):
        found = transcript(stored(log))
        assert found.text.replace("\0", "") == "one\nerr\ntwo\nerr\nab\nx\n"
        assert (found.exit_code, found.damaged) == (6, False)


# -- script and terminals ------------------------------------------------------------------------


@pytest.mark.parametrize("stored", [in_s3, in_cloudwatch])
def test_what_script_adds_is_taken_off(stored: object) -> None:
    found = transcript(stored(b"$ ls\r\nbin etc\r\n\r\nScript done on purpose\r\n"))  # type: ignore[operator]  # one of two
    assert found.text == "$ ls\nbin etc\n\nScript done on purpose\n"
    assert found.written == datetime(2026, 11, 28, 5, 57, 52, tzinfo=timezone.utc)
    assert found.target == ("demo", "a" * 32, "a" * 32 + "-42")
    assert found.exit_code is None and not found.cut and not found.damaged


@pytest.mark.parametrize(
    "head",
    [
        b"Script started on Sat Nov 28 05:57:50 2026\n",
        b'Script started on 2026-11-28 05:57:50+01:00 [TERM="xterm" TTY="/dev/pts/0"]\n',
    ],
)
def test_other_versions_of_script(head: bytes) -> None:
    found = transcript(head + b"hello\r\n\nScript done on Sat Nov 28 05:57:52 2026\n")
    assert found.text == "hello\n"
    assert found.target is None


def test_a_log_without_script_stays_whole() -> None:
    assert transcript(b"hello\nScript done on x\n").text == "hello\nScript done on x\n"


def test_nothing_can_be_hidden() -> None:
    shown = b"rm -rf /data\rls          \r\nabc\b\b\bxyz\r\n"
    shown += b"\x1b]0;title\x07$ \x1b[1mbold\x1b[0m\x1b[K\n"
    text = transcript(in_s3(shown)).text
    assert text == "rm -rf /data\nls\nabcxyz\n$ bold\n"


def test_other_encodings_are_shown_by_their_bytes() -> None:
    assert transcript("né".encode("latin-1")).text == "n\\xe9"
    assert transcript("né€".encode()).text == "né€"


def test_secrets_are_masked() -> None:
    shown = b"export DB_PASSWORD=correct-horse-battery\r\n"
    found = transcript(in_s3(shown))
    assert "correct-horse" not in found.text and found.masked == 1
    assert "correct-horse" in transcript(in_s3(shown), masked=False).text


@given(st.binary(max_size=600), st.booleans())
def test_no_bytes_raise(data: bytes, cut: bool) -> None:
    assert isinstance(transcript(data, cut=cut).text, str)
    assert isinstance(transcript(HEAD + data, cut=cut).text, str)
    assert isinstance(transcript(in_s3(wrapped([]) + data), cut=cut).text, str)


WORD = st.text(string.ascii_letters + string.digits + "éß漢", min_size=1, max_size=12)
NOISE = st.sampled_from(
    ["\x1b[31m", "\x1b[0m", "\x1b[2K", "\x1b[10;20H", "\x1b]0;title\x07", "\x1b[?25l", "\r", "\b",
     "\r\n", "\x07", "\x1b(B", "\x00", "\r\r\n"]
)  # fmt: skip


@given(st.lists(st.tuples(WORD, NOISE), max_size=30))
def test_all_that_is_printable_stays_in_its_order(parts: list[tuple[str, str]]) -> None:
    shown = "".join(word + noise for word, noise in parts).encode()
    wanted = "".join(word for word, _ in parts)
    for stored in (in_s3(shown), in_cloudwatch(shown), in_cloudwatch(shown, 300)):
        found = transcript(stored, masked=False).text
        assert "".join(found.split()) == wanted
        assert not any(char in found for char in "\x1b\r\b\x00\x07")


@given(st.text("abcdefgéß漢\n", max_size=200), st.integers(0, 900))
def test_a_log_may_be_cut_anywhere(text: str, at: int) -> None:
    shown = text.replace("\n", "\r\n").encode()
    whole = in_s3(shown)
    found = transcript(whole[:at], cut=at < len(whole), masked=False)
    if at >= len(whole):
        assert found.text == text
    elif at >= len(HEAD):
        assert "�" not in found.text and "\\x" not in found.text
        # What is left of the last line of script cannot be told from text.
        assert text.startswith(re.sub(r"\n?(Script.*|S\w*)?\Z", "", found.text))


# -- the exact wrapper ---------------------------------------------------------------------------


@pytest.mark.parametrize("stored", [in_s3, in_cloudwatch])
def test_the_wrapper_is_taken_off(stored: object) -> None:
    pieces = [
        (b"o", b"one\ntwo\r\n", b"t"),
        (b"e", b"oops \xe2\x82\xac\n", b"b"),
        (b"o", b"6869\n", b"t"),
        (b"o", b"hex\n", b"x"),
    ]
    found = transcript(stored(wrapped(pieces)))  # type: ignore[operator]  # one of two
    assert found.text == "one\ntwo\noops €\n6869\nhex\n"
    assert found.exit_code == 3 and not found.damaged


def test_a_damaged_frame_loses_no_text() -> None:
    data = wrapped([(b"o", b"first\n", b"t"), (b"o", b"second\n", b"b")])
    broken = data.replace(b"first", b"fi").replace(b"c2Vjb25k", b"!!!Vjb25k")
    found = transcript(in_s3(broken))
    assert found.damaged and found.exit_code is None
    assert "fi\n" in found.text and "!!!Vjb25k" in found.text


def test_an_echo_before_the_wrapper_stays() -> None:
    found = transcript(in_s3(b"typed ahead\r\n" + wrapped([(b"o", b"x\n", b"t")])))
    assert found.text == "typed ahead\nx\n"


PIECES = st.lists(
    st.tuples(
        st.sampled_from([b"o", b"e"]),
        st.text(string.ascii_letters + " \n\r\té€", max_size=60).map(str.encode),
        st.sampled_from([b"t", b"b", b"x"]),
    ),
    max_size=8,
)


@given(PIECES, st.sampled_from([in_s3, in_cloudwatch]))
def test_what_commands_print_comes_back(
    pieces: list[tuple[bytes, bytes, bytes]], stored: object
) -> None:
    found = transcript(stored(wrapped(pieces, 7)), masked=False)  # type: ignore[operator]  # one of two
    wanted = b"".join(body for _, body, _ in pieces).decode()
    assert found.exit_code == 7 and not found.damaged
    assert found.text.split() == wanted.split()


@given(PIECES, st.data())
def test_a_wrapped_log_may_be_cut_anywhere(
    pieces: list[tuple[bytes, bytes, bytes]], data: st.DataObject
) -> None:
    whole = in_s3(wrapped([(stream, body, b"t") for stream, body, _ in pieces]))
    at = data.draw(st.integers(0, len(whole)))
    found = transcript(whole[:at], cut=True, masked=False)
    wanted = "".join(b"".join(body for _, body, _ in pieces).decode().split())
    if at > len(HEAD) + 80:
        begin = whole.index(b"\n", len(HEAD)) + 1
        if at > begin:
            shown = "".join(found.text.partition(SECRET.decode())[0].split())
            assert shown[: len(wanted)] == wanted[: len(shown)]
