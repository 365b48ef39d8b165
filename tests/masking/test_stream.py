"""Text in pieces: the same as of the whole, at once, and never more than that."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ecs_exec_magic.masking import MARK, Masker, mask, stream

from .samples import IN_QUOTES, KEY, NAMED, PLACES, TOKENS, WORDS
from .test_shapes import PIECES, SECRETS


def cut(text: str, places: list[int]) -> Iterator[str]:
    edges = sorted({0, len(text), *(place % (len(text) + 1) for place in places)})
    for start, end in itertools.pairwise(edges):
        yield text[start:end]


PLACES_TO_CUT = st.lists(st.integers(0, 100_000), max_size=30)


@settings(deadline=None)
@given(PIECES, PLACES_TO_CUT)
@example("a\r\nb\r\r\n\n", [1, 2, 3, 4, 5, 6, 7])
@example(KEY.replace("\n", "\r\n") * 2, list(range(0, 700, 3)))
def test_pieces_give_what_the_whole_gives(text: str, places: list[int]) -> None:
    masker = Masker()
    out = "".join(masker.feed(piece) for piece in cut(text, places)) + masker.flush()
    whole = mask(text)
    assert (out, masker.count) == (whole.text, whole.count)


@settings(deadline=None)
@given(st.lists(SECRETS, max_size=4).map(" ".join), PLACES_TO_CUT)
def test_pieces_of_lines_that_are_too_long(text: str, places: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "LONGEST_LINE", 64)
        masker = Masker()
        out = "".join(masker.feed(piece) for piece in cut(text, places)) + masker.flush()
        assert out == mask(text).text


def test_whole_lines_come_at_once() -> None:
    masker = Masker()
    assert masker.feed("one\ntwo\nthr") == "one\ntwo\n"
    assert masker.feed("ee\r") == "three\r"
    assert masker.feed("\npassword=x\n") == f"\npassword={MARK}\n"
    assert masker.feed("last") == ""
    assert masker.flush() == "last"
    assert masker.count == 1
    assert masker.flush() == ""


def test_a_prompt_comes_after_a_silence() -> None:
    masker = Masker()
    holds = [masker.holds]
    assert masker.feed("Password: ") == ""
    holds.append(masker.holds)
    assert masker.flush(final=False) == "Password: "
    assert masker.flush(final=False) == ""
    holds.append(masker.holds)
    assert holds == [False, True, False]
    assert masker.feed("\nwelcome\n") == "\nwelcome\n"


ONE_SECRET = st.one_of(
    st.tuples(st.sampled_from(NAMED), st.text("0123456789", min_size=24, max_size=40)),
    st.tuples(st.sampled_from(IN_QUOTES), st.text("0123456789", min_size=24, max_size=40)),
    *(st.tuples(st.sampled_from(PLACES), each) for each in TOKENS.values()),
)


@settings(deadline=None)
@given(ONE_SECRET, st.lists(st.integers(0, 2000), min_size=1, max_size=8))
def test_a_secret_that_is_cut_by_silences(sample: tuple[str, str], places: list[int]) -> None:
    place, secret = sample
    text = f"begin {place.format(secret)} end\n"
    masker, out = Masker(), ""
    for piece in cut(text, places):
        out += masker.feed(piece)
        out += masker.flush(final=False)
    out += masker.flush()
    # What could be a beginning of anything at all may have come out: five characters of a prefix.
    shown = [secret[at : at + 8] for at in range(len(secret) - 7) if secret[at : at + 8] in out]
    assert shown == [], out
    assert out.startswith("begin ")
    assert out.endswith((" end\n", f"{MARK}\n"))
    assert masker.count >= 1


@pytest.mark.parametrize("step", [1, 2, 5, 17])
def test_a_key_that_is_cut_by_silences(step: int) -> None:
    masker, out = Masker(), ""
    for at in range(0, len(KEY), step):
        out += masker.feed(KEY[at : at + step]) + masker.flush(final=False)
    assert out + masker.flush() == mask(KEY).text


@settings(deadline=None)
@given(WORDS.map(" ".join), PLACES_TO_CUT)
def test_without_secrets_silences_lose_nothing(text: str, places: list[int]) -> None:
    masker, out = Masker(), ""
    for piece in cut(text, places):
        out += masker.feed(piece) + masker.flush(final=False)
    assert out + masker.flush() == text


# -- private keys --------------------------------------------------------------------------------

MASKED_KEY = re.sub(r"(?s)\n\nMIIE.*==", f"\n{MARK}", KEY)


def test_a_private_key() -> None:
    assert mask(f"a\n{KEY}b\n").text == f"a\n{MASKED_KEY}b\n"
    assert mask(KEY + KEY).text == MASKED_KEY * 2
    assert mask(KEY + KEY).count == 2


def test_a_private_key_with_something_before_each_line() -> None:
    for number, before in enumerate(
        ("    ", "web_1  | ", "+", '"', "{}:", "  {}\t", "2026-11-{} x ")
    ):
        lines = KEY.splitlines()
        text = "".join(f"{before.format(10 + at)}{line}\n" for at, line in enumerate(lines))
        masked = mask(text).text
        assert "q9Z" not in masked, number
        assert masked.count(MARK) == 1
        assert "END RSA" in masked


def test_a_private_key_that_never_ends() -> None:
    begun = KEY[: KEY.index("-----END")]
    assert mask(begun).text == MASKED_KEY[: MASKED_KEY.index("-----END")]
    masked = mask(f"{begun}drwxr-xr-x 2 root\npassword=x\n").text
    assert masked.endswith(f"{MARK}\ndrwxr-xr-x 2 root\npassword={MARK}\n")
    for at in range(len(KEY)):
        assert "q9Z" not in mask(KEY[:at]).text


def test_a_private_key_in_one_line() -> None:
    for line in (KEY.replace("\n", "\\n"), KEY.replace("\n", " ")):
        masked = mask(f'{{"key": "{line}", "x": 1}}').text
        assert masked == (
            f'{{"key": "-----BEGIN RSA PRIVATE KEY-----{MARK}-----END RSA PRIVATE KEY-----'
            f'{line[-2:] if line.endswith(chr(92) + "n") else " "}", "x": 1}}'
        )
    assert "q9Z" not in mask(KEY.replace("\n", "\\n")[:150]).text


# -- endless lines -------------------------------------------------------------------------------


def test_an_endless_line_is_not_held() -> None:
    masker, size = Masker(), 0
    for _ in range(300):
        size += len(masker.feed("word " * 1000))
        assert masker._size <= stream.LONGEST_LINE
    assert size > 300 * 5000 - stream.LONGEST_LINE
    assert size + len(masker.flush()) == 300 * 5000


@pytest.mark.parametrize("before", ["", "token=", "Authorization: Bearer ", 'password="'])
def test_an_endless_secret(before: str) -> None:
    secret = "eyJq9Zq9Zq9Zq9Z.q9Zq9Zq9Zq9Z.q9Zq9Zq9Z" + "q9Z" * 100_000
    text = f"{before}{secret}{before[-1:] if before.endswith(chr(34)) else ''} end\n"
    masked = mask(text).text
    assert "q9Z" not in masked
    assert masked.startswith(f"{before}{MARK}")
    assert masked.endswith(" end\n")
    assert len(masked) < 100


@pytest.mark.parametrize("place", range(-70, 70))
def test_a_secret_at_the_border_of_what_is_held(place: int) -> None:
    secret = "ghp_q9Z3456789abcdefghijABCDEFGHIJ012345"
    for border in (stream.LONGEST_LINE - stream.LONGEST_LINE // 16, stream.LONGEST_LINE):
        before = ("word " * 20_000)[: border + place - len(" password=")] + " password="
        masked = mask(f"{before}{secret} end" + " word" * 20_000).text
        assert masked == f"{before}{MARK} end" + " word" * 20_000
