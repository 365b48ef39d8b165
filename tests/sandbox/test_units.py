"""The lexer, the output filter, the outbox and the key store by themselves."""

from __future__ import annotations

import shlex
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecs_exec_magic.sandbox.damage import OutputFilter
from ecs_exec_magic.sandbox.outbox import Outbox
from ecs_exec_magic.sandbox.words import SplitError, split


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ls -l  /", ["ls", "-l", "/"]),
        ("echo $HOME | wc -c; 'a b' \"c d\"", ["echo", "$HOME", "|", "wc", "-c;", "a b", "c d"]),
        (r'"a\nb\"c"', ['anb"c']),
        (r"a\ b\\c", ["a b\\c"]),
        ("a\\\nb", ["a\nb"]),
        ("a #b\nc#d #e", ["a", "c#d"]),
        ("'' \"\" x''y", ["", "", "xy"]),
        ("'a\\'b", ["a\\b"]),
        ("\ta\r\nb ", ["a", "b"]),
        ("# only", []),
        ("a\x0bb", ["a\x0bb"]),
    ],
)
def test_split(text: str, words: list[str]) -> None:
    assert split(text) == words


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("echo 'a", "EOF found when expecting closing quote"),
        ('echo "a', "EOF found when expecting closing quote"),
        ("echo a\\", "EOF found after escape character"),
        ('echo "a\\', "EOF found after escape character"),
    ],
)
def test_split_fails_with_the_agents_words(text: str, message: str) -> None:
    with pytest.raises(SplitError, match=message):
        split(text)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]))))
def test_split_takes_what_python_quotes(words: list[str]) -> None:
    assert split(shlex.join(words)) == words


def feed(*chunks: bytes) -> bytes:
    damage = OutputFilter()
    return b"".join(damage.feed(c) for c in chunks)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"tail\xc3", b"tail"),
        (b"x\xef\xbf\xbd yyyy", b"x\xef yyyy"),
        (b"[\xff\xfe] end", b"[\xff\xfe] end"),
        (bytes(range(256)), bytes(range(253))),
        (b"\xed\xa0\x80 surrogate", b"\xed\xa0\x80 surrogate"),
        (b"\xf5\x80\x80\x80 high", b"\xf5\x80\x80\x80 high"),
        (b"\xc0\x80 long form", b"\xc0\x80 long form"),
    ],
)
def test_damage(data: bytes, expected: bytes) -> None:
    assert feed(data) == expected


@given(st.text(st.characters(exclude_characters="�", exclude_categories=["Cs"])), st.data())
def test_valid_text_survives_any_chunks(text: str, data: st.DataObject) -> None:
    encoded = text.encode()
    cut = data.draw(st.integers(0, len(encoded)))
    assert feed(encoded[:cut], encoded[cut:]) == encoded


@given(st.lists(st.binary(max_size=20)))
def test_damage_keeps_at_most_three_bytes(chunks: list[bytes]) -> None:
    damage = OutputFilter()
    given_bytes = sent = 0
    for chunk in chunks:
        given_bytes += len(chunk)
        out = damage.feed(chunk)
        assert len(out) <= len(chunk) + 3
        sent += len(out)
    replaced = b"".join(chunks).count(b"\xef\xbf\xbd")
    assert given_bytes - 3 - 2 * replaced <= sent <= given_bytes


def test_outbox_repeats_only_its_head_and_learns() -> None:
    outbox = Outbox()
    for _ in range(3):
        number = outbox.number()
        outbox.add(number, b"%d" % number, 0.0)
    assert outbox.due(0.2) is None
    assert outbox.due(0.21) == b"0"
    assert outbox.due(0.3) is None  # it was written back
    outbox.acknowledged(1, 0.31)
    outbox.acknowledged(99, 0.31)
    assert len(outbox) == 2
    outbox.acknowledged(0, 0.31)
    assert outbox.due(5.0) == b"2"
    for _ in range(50):
        number = outbox.number()
        outbox.add(number, b"", 0.0)
        outbox.acknowledged(number, 30.0)
    assert outbox.timeout == 1.0


def test_the_package_loads_no_heavy_library() -> None:
    heavy = "{'aiohttp', 'boto3', 'docker', 'moto'} & set(sys.modules)"
    code = f"import sys, ecs_exec_magic.sandbox\nassert not {heavy}, {heavy}"
    subprocess.run([sys.executable, "-c", code], check=True)
