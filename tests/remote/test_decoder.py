"""Reading the wrapper's records, cut anywhere and with anything between them."""

from __future__ import annotations

import base64
import hashlib
import itertools
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecs_exec_magic.remote.decoder import (
    Begin,
    Cksum,
    Credit,
    Damage,
    Noise,
    PlainExit,
    Proof,
    Record,
    RecordReader,
    Stream,
    StreamData,
)

NONCE, SECRET = b"nonce", b"s3cr3t"
BEGIN = b"\x1enonce B 1 r base64- cksum- setsid- s3cr3t\n"


def frame(stream: bytes, data: bytes, kind: bytes = b"t") -> bytes:
    body = {"t": data, "b": base64.b64encode(data), "x": data.hex().encode()}.get(kind.decode())
    if kind == b"u":
        body = data.replace("\ufffd".encode(), b"\x1a")
    assert body is not None
    return b"\x1e%s %s %s %d\n%s\n" % (SECRET, stream, kind, len(body), body)


def read(wire: bytes, cuts: list[int] | None = None) -> list[Record]:
    reader = RecordReader(NONCE)
    records: list[Record] = []
    edges = [0, *sorted(cut % (len(wire) + 1) for cut in cuts or []), len(wire)]
    for start, end in itertools.pairwise(edges):
        records += reader.feed(wire[start:end])
    records += reader.flush()
    joined: list[Record] = []
    for record in records:
        if isinstance(record, Noise) and joined and isinstance(joined[-1], Noise):
            record = Noise(joined.pop().data + record.data)  # type: ignore[union-attr]  # a Noise
        joined.append(record)
    return joined


WIRE = (
    b"motd\r\n" + BEGIN + frame(b"o", b"text\n")
    + b"noise\x1e\x1es3c" + frame(b"e", b"\x00\xff", b"b")
    + b"\x1es3cr3t c 4096\n" + frame(b"o", "a\ufffdb".encode(), b"u") + frame(b"o", b"hex", b"x")
    + b"\x1es3cr3t z o 1 2\n\x1es3cr3t z e \n\x1es3cr3t X 3\ntail"
)  # fmt: skip
RECORDS: list[Record] = [
    Noise(b"motd\r\n"),
    Begin("r", "base64", "cksum", "setsid", SECRET),
    StreamData("o", b"text\n"),
    Noise(b"noise\x1e\x1es3c"),
    StreamData("e", b"\x00\xff"),
    Credit(4096),
    StreamData("o", "a\ufffdb".encode()),
    StreamData("o", b"hex"),
    Proof("o", "1 2"),
    Proof("e", ""),
    PlainExit(3),
    Noise(b"tail"),
]


def test_all_kinds_of_records() -> None:
    assert read(WIRE) == RECORDS


@pytest.mark.parametrize("cut", range(len(WIRE)))
def test_every_cut_point(cut: int) -> None:
    assert read(WIRE, [cut]) == RECORDS


@given(st.lists(st.integers(0, 10_000), max_size=30))
def test_any_cut_points(cuts: list[int]) -> None:
    assert read(WIRE, cuts) == RECORDS


def test_byte_by_byte() -> None:
    assert read(WIRE, list(range(len(WIRE)))) == RECORDS


@given(st.lists(st.tuples(st.sampled_from(["o", "e"]), st.binary(max_size=300)), max_size=12))
def test_bodies_hold_anything(pieces: list[tuple[str, bytes]]) -> None:
    hostile = [(s, d + b"\x1es3cr3t o t 3\nabc\n\x1e" + SECRET) for s, d in pieces]
    wire = BEGIN + b"".join(frame(s.encode(), d) for s, d in hostile)
    assert read(wire)[1:] == [StreamData(s, d) for s, d in hostile]


@given(st.binary(max_size=400))
def test_noise_never_becomes_a_record(noise: bytes) -> None:
    noise = noise.replace(SECRET, b"")
    records = read(BEGIN + noise + frame(b"o", b"x"))
    assert records[-1] == StreamData("o", b"x")
    assert [r for r in records[1:-1] if not isinstance(r, Noise)] == []
    assert b"".join(r.data for r in records[1:-1] if isinstance(r, Noise)) == noise


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=5))
def test_no_bytes_break_the_reader(data: bytes, cuts: list[int]) -> None:
    for record in read(BEGIN + data, cuts):
        assert isinstance(record, Record)


def _joined(records: list[Record]) -> bytes:
    return b"".join(each.data for each in records if isinstance(each, StreamData))


@given(st.binary(max_size=400), st.lists(st.integers(0, 900), max_size=20))
def test_a_run_ends_with_the_next_record(data: bytes, cuts: list[int]) -> None:
    wire = BEGIN + b"\x1es3cr3t o s\n" + base64.encodebytes(data)
    records = read(wire + b"\x1es3cr3t z o 1 2\n" + frame(b"e", b"x"), cuts)
    assert records[-2:] == [Proof("o", "1 2"), StreamData("e", b"x")]
    assert {type(each) for each in records[1:-2]} <= {StreamData}
    assert _joined(records[:-1]) == data


def test_a_run_that_is_cut_or_broken_is_told() -> None:
    begin = BEGIN + b"\x1es3cr3t o s\n"
    for wire in (b"AAA\n", b"!!!!\n", b"AAAA\nAA\n"):
        records = read(begin + wire + b"\x1es3cr3t z o 1 2\n")
        assert any(isinstance(each, Damage) for each in records)
        assert records[-1] == Proof("o", "1 2")
    assert _joined(read(begin + base64.b64encode(b"abcdef"))) == b"abcdef"


@pytest.mark.parametrize(
    "broken",
    [
        b"\x1es3cr3t o t 3\nabcd\n",  # longer than it says
        b"\x1es3cr3t o t 5\nab\n" + frame(b"o", b"next one"),  # shorter
        b"\x1es3cr3t o b 4\n!!!!\n",
        b"\x1es3cr3t o x 3\nzzz\n",
        b"\x1es3cr3t o q 1\na\n",
        b"\x1es3cr3t o t 99999999\nabc\n",
        b"\x1es3cr3t what is this\n",
        b"\x1es3cr3t " + b"x" * 400 + b"\n",
        BEGIN.replace(b"nonce", b"s3cr3t"),
    ],
)
def test_damage_is_told_and_reading_goes_on(broken: bytes) -> None:
    records = read(BEGIN + broken + frame(b"e", b"after"))
    assert any(isinstance(record, Damage) for record in records)
    assert records[-1] == StreamData("e", b"after")


def test_nothing_counts_before_the_first_record() -> None:
    early = frame(b"o", b"early")
    assert read(early + BEGIN)[:1] == [Noise(early)]


def test_a_cut_off_record_at_the_end() -> None:
    assert any(isinstance(r, Damage) for r in read(BEGIN + frame(b"o", b"abc")[:-3]))


# -- streams ---------------------------------------------------------------------------------------

MARK = b"\x1es3cr3t\x1e"


@given(st.binary(max_size=200), st.lists(st.integers(0, 300), max_size=6), st.binary(max_size=20))
def test_a_stream_ends_at_its_mark(data: bytes, cuts: list[int], late: bytes) -> None:
    data = data.replace(SECRET, b"")
    whole = data + MARK + b" 3 0 " + MARK + late
    stream = Stream(MARK, "cksum")
    edges = [0, *sorted(cut % (len(whole) + 1) for cut in cuts), len(whole)]
    out = b"".join(stream.feed(whole[a:b]) for a, b in itertools.pairwise(edges))
    assert out + stream.flush() == data
    assert stream.words == ["3", "0"]
    crc = Cksum()
    crc.update(whole)
    assert stream.proves(Proof("o", f"{crc.value()} {len(whole)}"))
    assert not stream.proves(Proof("o", f"{crc.value()} {len(whole) + 1}"))
    assert not stream.proves(Proof("o", f"{crc.value() ^ 1} {len(whole)}"))
    assert not stream.proves(Proof("o", ""))


@given(
    st.lists(st.binary(max_size=30), min_size=1, max_size=6),
    st.lists(st.integers(0, 300), max_size=8),
    st.binary(max_size=20),
)
def test_what_wakes_the_pump_is_no_output(
    pieces: list[bytes], cuts: list[int], late: bytes
) -> None:
    wake = b"\x1es3cr3tw"
    pieces = [piece.replace(SECRET, b"") for piece in pieces]
    whole = wake.join(pieces) + MARK + MARK
    stream = Stream(MARK, "")
    edges = [0, *sorted(cut % (len(whole) + 1) for cut in cuts), len(whole)]
    out = b"".join(stream.feed(whole[a:b]) for a, b in itertools.pairwise(edges))
    assert out + stream.flush() == b"".join(pieces)
    assert stream.words == []
    # What comes behind the end is the next stream's, a piece of such a word with it.
    stream.feed(wake[:4])
    after = Stream(MARK, "")
    after_all = after.take(stream.behind) + after.feed(wake[4:] + late.replace(SECRET, b"") + MARK)
    assert after_all == late.replace(SECRET, b"")


def test_a_stream_holds_back_only_what_may_be_a_mark() -> None:
    stream = Stream(MARK, "")
    assert stream.feed(b"abc") == b"abc"
    assert stream.feed(b"def\x1es3") == b"def"
    assert stream.feed(b"x") == b"\x1es3x"
    assert stream.feed(b"\x1e") == b""
    assert stream.flush() == b"\x1e"
    assert stream.words is None


@pytest.mark.parametrize("program", ["cksum", "sha256sum", "md5sum"])
@pytest.mark.parametrize("size", [0, 1, 2, 255, 256, 257, 65_536, 100_000])
def test_checksums_are_those_of_the_programs(program: str, size: int) -> None:
    data = bytes((n * 7 + n // 256) % 256 for n in range(size))
    assert shutil.which(program)
    said = subprocess.run([program], input=data, capture_output=True, check=True).stdout.decode()
    stream = Stream(MARK, program)
    for start in range(0, size, 777):
        stream.feed(data[start : start + 777])
    assert stream.proves(Proof("o", said.strip()))
    if size:
        other = Stream(MARK, program)
        other.feed(data[:-1] + bytes([data[-1] ^ 1]))
        assert not other.proves(Proof("o", said.strip()))


def test_sha256_of_nothing_is_still_compared() -> None:
    assert Stream(MARK, "sha256sum").proves(Proof("o", hashlib.sha256().hexdigest() + "  -"))
    assert not Stream(MARK, "").proves(Proof("o", "1 2"))
