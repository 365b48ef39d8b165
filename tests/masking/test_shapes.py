"""Secrets of every kind are found wherever they stand; what is none stays as it is."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ecs_exec_magic.masking import MARK, Masked, mask

from .samples import HARMLESS, IN_QUOTES, KEY, NAMED, PASSWORDS, PLACES, QUOTED, TOKENS, WORDS

SGR = re.compile(r"\x1b\[[0-9;]*m")


@pytest.mark.parametrize("kind", TOKENS)
@settings(deadline=None)
@given(st.data())
def test_what_has_a_shape_of_its_own(kind: str, data: st.DataObject) -> None:
    secret, place = data.draw(TOKENS[kind]), data.draw(st.sampled_from(PLACES))
    assert mask(place.format(secret)) == Masked(place.format(MARK), 1)


@settings(deadline=None)
@given(PASSWORDS, st.sampled_from(NAMED))
def test_what_has_a_name_beside_it(secret: str, place: str) -> None:
    assert mask(place.format(secret)) == Masked(place.format(MARK), 1)


@settings(deadline=None)
@given(QUOTED, st.sampled_from(IN_QUOTES))
def test_what_stands_in_quotes(secret: str, place: str) -> None:
    assert mask(place.format(secret)) == Masked(place.format(MARK), 1)


@pytest.mark.parametrize("place", NAMED)
def test_every_place(place: str) -> None:
    assert mask(f"{place.format('hunter2')}\n").text == f"{place.format(MARK)}\n"


@pytest.mark.parametrize("place", IN_QUOTES)
def test_every_place_with_quotes(place: str) -> None:
    assert mask(f"{place.format('a b, (c)')}\n").text == f"{place.format(MARK)}\n"


def test_passphrases_of_several_words() -> None:
    assert mask("  password: correct horse battery # staple").text == f"  password: {MARK} # staple"
    assert mask("passphrase = correct horse battery").text == f"passphrase = {MARK}"
    assert mask("password='correct horse").text == f"password='{MARK}"


@pytest.mark.parametrize(
    ("raw", "masked"),
    [
        ('password="a\\"b c"d', f'password="{MARK}"d'),
        ('"password": "a\\\\", "x": 1', f'"password": "{MARK}", "x": 1'),
        ('{\\"password\\": \\"a\\\\\\"b\\", 1}', f'{{\\"password\\": \\"{MARK}\\", 1}}'),
        ("password=a\\ b c", f"password={MARK} c"),
        ("password=a&b;c,d)e", f"password={MARK}"),
        ('password=a"b', f"password={MARK}"),
        ('{"log":"password=a\\n"}', f'{{"log":"password={MARK}\\n"}}'),
        ("AKIAIOSFODNN7EXAMPLE,wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", f"{MARK},{MARK}"),
        ("postgres://bob:p@ss@db/x", f"postgres://bob:{MARK}@db/x"),
        ("postgres://bob:a/b+c=@db/x", f"postgres://bob:{MARK}@db/x"),
        ("https://hooks.slack.com/services/T0/B0/abcdefghij012345",
         f"https://hooks.slack.com/services/{MARK}"),
        ("Authorization: AWS4-HMAC-SHA256 Credential=A/b, SignedHeaders=h, Signature=f00",
         f"Authorization: AWS4-HMAC-SHA256 {MARK}"),
        ("token: abc", f"token: {MARK}"),
        ("bad token: abcdefgh1", f"bad token: {MARK}"),
    ],
)  # fmt: skip
def test_where_it_begins_and_ends(raw: str, masked: str) -> None:
    assert mask(raw).text == masked


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_none(text: str) -> None:
    assert mask(text) == Masked(text, 0)
    assert mask(f"{text}\n{text}\n") == Masked(f"{text}\n{text}\n", 0)


@settings(deadline=None)
@given(WORDS, st.sampled_from([" ", "\n", ". ", "  ", "\r\n"]))
def test_plain_words_are_untouched(words: list[str], between: str) -> None:
    text = between.join(words)
    assert mask(text) == Masked(text, 0)


def test_the_mark_tells_nothing_of_length() -> None:
    assert mask("password=abc").text == mask(f"password={'abc' * 99}").text
    assert mask(KEY).text == mask(KEY.replace("q9ZQ==\n", "")).text


def test_a_value_in_the_line_behind_its_name() -> None:
    """As ``aws ecs describe-task-definition`` prints environments."""
    text = '  "name": "DB_PASSWORD",\n  "value": "hunter2"\n'
    assert mask(text).text == text.replace("hunter2", MARK)
    assert mask(text.replace("DB_PASSWORD", "DB_HOST")).count == 0
    yaml = "- name: API_TOKEN\n  value: hunter2\n"
    assert mask(yaml).text == yaml.replace("hunter2", MARK)


# -- more than one -------------------------------------------------------------------------------

SECRETS = st.one_of(
    st.builds(str.format, st.sampled_from(NAMED), PASSWORDS),
    st.builds(str.format, st.sampled_from(IN_QUOTES), QUOTED),
    *(st.builds(str.format, st.sampled_from(PLACES), each) for each in TOKENS.values()),
    st.just(KEY),
    st.just(KEY[:200]),
    st.just(KEY.replace("\n", "\\n") + "\n"),
)
PIECES = st.lists(
    SECRETS
    | st.sampled_from(HARMLESS)
    | st.sampled_from(["\n", "\r\n", " ", "\\", '"', "'", "=", ":", "password", "token", MARK])
    | WORDS.map(" ".join),
    max_size=8,
).map("".join)


@settings(deadline=None)
@given(PIECES)
@example(f"password={MARK}]]")
@example("password=a,ghp_0123456789abcdefghijABCDEFGHIJ012345=")
def test_masking_again_changes_nothing(text: str) -> None:
    once = mask(text)
    assert mask(once.text) == Masked(once.text, 0)


@settings(deadline=None)
@given(st.lists(SECRETS.filter(lambda text: "\n" not in text), max_size=5))
def test_several_lines(lines: list[str]) -> None:
    masked = [mask(line) for line in lines]
    whole = mask("".join(f"{line}\n" for line in lines))
    assert whole.text == "".join(f"{each.text}\n" for each in masked)
    assert whole.count == len(lines)


# -- colours -------------------------------------------------------------------------------------


@settings(deadline=None)
@given(
    PIECES.filter(lambda text: "-----" not in text),
    st.lists(
        st.tuples(st.integers(0, 10_000), st.sampled_from(["\x1b[31m", "\x1b[0m", "\x1b[1;4m"]))
    ),
)
def test_colours_stay_and_hide_nothing(text: str, colours: list[tuple[int, str]]) -> None:
    coloured = text
    for place, colour in colours:
        place %= len(coloured) + 1
        if any(match.start() < place < match.end() for match in SGR.finditer(coloured)):
            continue
        coloured = coloured[:place] + colour + coloured[place:]
    masked = mask(coloured)
    assert SGR.sub("", masked.text) == mask(text).text
    assert SGR.findall(masked.text) == SGR.findall(coloured)


def test_grep_colours_the_name() -> None:
    text = "\x1b[01;31m\x1b[Kpassword\x1b[m\x1b[K=hunter2\n"
    assert mask(text).text == text.replace("hunter2", MARK)


# -- time ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "unit",
    [
        "a", "=", "\\", '"', "eyJ", "eyJaaaaaaaaaaaa.", "AKIA", "password=", "password: ",
        "token: ", "secret=,", 'password=\\"', "--password ", "--a-", "authorization:",
        "authorization: ", "bearer a ", "://", "://a:", "://a:@", "glpat-", "sk-", "SG.",
        "$1$", "<token>", "-----BEGIN PRIVATE KEY-----",
        "-----BEGIN RSA PRIVATE KEY-----MIIEMIIEMIIEMIIEMIIEMIIE ",
        "login a password ", "curl -u ", "name=", "name: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa ",
        "\x1b[", "\x1b[31m", "password\\\\\\", "password={", "api_key=", "&", "[masked]", ", ",
    ],
)  # fmt: skip
def test_time_grows_with_the_text_only(unit: str) -> None:
    """Were it to grow with its square, this would take longer than a test may."""
    size = 256 * 1024
    for end in ("", "x"):
        text = unit * (size // len(unit)) + end
        assert mask(text).text
