"""The client's core against everything a peer and a network can do."""

from __future__ import annotations

import json
import random
import struct
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecs_exec_magic.channel.encryption import SessionCipher
from ecs_exec_magic.channel.events import (
    Closed,
    Event,
    ExitCode,
    Flag,
    HandshakeComplete,
    Lost,
    Output,
    StdErr,
)
from ecs_exec_magic.channel.frames import MessageType, PayloadType, decode
from ecs_exec_magic.channel.identifiers import MessageIds
from ecs_exec_magic.channel.protocol import DataChannel

from .peer import SESSION, TARGET, AgentSide

if TYPE_CHECKING:
    from collections.abc import Sequence


def start() -> DataChannel:
    channel = DataChannel(
        SESSION, target=TARGET, new_id=MessageIds(bytes(range(16, 32))), epoch=1_700_000_000.0
    )
    channel.connect("token", 0.0)
    channel.data_to_send()
    return channel


def is_ready(channel: DataChannel) -> bool:
    return channel.ready


def acks(messages: list[bytes | str]) -> list[int]:
    """The numbers acknowledged in what a client sends."""
    found = []
    for message in messages:
        assert isinstance(message, bytes)
        frame = decode(message)
        if frame.message_type == MessageType.ACKNOWLEDGE:
            found.append(json.loads(frame.payload)["AcknowledgedMessageSequenceNumber"])
    return found


def inputs(messages: list[bytes | str]) -> list[tuple[int, int, bytes]]:
    """Number, payload type and payload of the stream messages in what a client sends."""
    found = []
    for message in messages:
        assert isinstance(message, bytes)
        frame = decode(message)
        if frame.message_type == MessageType.INPUT:
            found.append((frame.sequence, frame.payload_type, frame.payload))
    return found


def text(events: list[Event]) -> bytes:
    return b"".join(event.data for event in events if isinstance(event, Output))


def ready() -> tuple[DataChannel, AgentSide]:
    channel, agent = start(), AgentSide()
    channel.receive(agent.say(b"$ "), 1.0)
    channel.data_to_send()
    channel.events_received()
    agent.outgoing.acknowledge(0, 1.0)
    agent.data_to_send()
    return channel, agent


# ---------------------------------------------------------------------- opening


def test_the_first_message_is_the_open_message_and_reproducible() -> None:
    def make() -> DataChannel:
        return DataChannel(SESSION, new_id=MessageIds(bytes(16)), epoch=1_700_000_000.0)

    one, two = make(), make()
    for channel in (one, two):
        channel.connect("secret-token", 0.0)
        channel.receive(AgentSide().say(b"x"), 1.0)
        channel.send_input(b"ls\r", 2.0)
    sent = one.data_to_send()
    assert sent == two.data_to_send()
    hello = json.loads(sent[0])
    assert hello["MessageSchemaVersion"] == "1.0"
    assert hello["TokenValue"] == "secret-token"
    assert tuple(int(part) for part in hello["ClientVersion"].split(".")) >= (1, 2, 694, 0)
    assert "secret-token" not in repr(one)


def test_frames_carry_the_injected_time() -> None:
    channel, _ = ready()
    channel.send_input(b"x", 2.5)
    (message,) = channel.data_to_send()
    assert isinstance(message, bytes)
    assert decode(message).created == 1_700_000_002_500


def test_data_to_send_and_events_are_given_once() -> None:
    channel, agent = ready()
    channel.receive(agent.say(b"x"), 1.0)
    assert len(channel.data_to_send()) == 1
    assert channel.data_to_send() == []
    assert [channel.has_events, channel.queued] == [True, 1]
    assert channel.events_received() == [Output(b"x")]
    assert [channel.has_events, channel.queued] == [False, 0]
    assert channel.events_received() == []


# ---------------------------------------------------------------------- order and repetition


def survivors(wire: Sequence[bytes | str], chance: random.Random) -> list[bytes | str]:
    """What a bad network makes of messages: some lost, some doubled, in any order."""
    arrived = [message for message in wire if chance.random() < 0.75]
    arrived += [message for message in arrived if chance.random() < 0.25]
    chance.shuffle(arrived)
    return arrived


@given(st.lists(st.binary(min_size=1, max_size=30), min_size=1, max_size=25), st.integers())
@settings(max_examples=150, deadline=None)
def test_output_is_whole_whatever_the_network_does(pieces: list[bytes], seed: int) -> None:
    """Lost, doubled and reordered frames, lost acknowledgements: nothing is lost or doubled."""
    chance = random.Random(seed)
    channel, agent = start(), AgentSide()
    for piece in pieces:
        agent.say(piece)
    wire: Sequence[bytes | str] = agent.data_to_send()
    got: list[Event] = []
    now = 0.0
    for _ in range(500):
        batch = survivors(wire, chance)
        if chance.random() < 0.5:
            channel.receive_many(batch, now)
        else:
            for message in batch:
                channel.receive(message, now)
        for message in survivors(channel.data_to_send(), chance):
            agent.receive(message, now)
        got += channel.events_received()
        if not len(agent.outgoing):
            break
        now += 2.0
        again = agent.outgoing.tick(now)  # as the real agent: only the head
        wire = [again] if again else []
    else:
        raise AssertionError("it never came to an end")
    assert text(got) == b"".join(pieces)
    assert channel.expected == len(pieces)


@given(st.binary(min_size=1, max_size=6000), st.integers())
@settings(max_examples=100, deadline=None)
def test_input_arrives_whole_whatever_the_network_does(whole: bytes, seed: int) -> None:
    chance = random.Random(seed)
    channel, agent = ready()
    channel.send_input(whole, 1.0)
    now = 1.0
    for _ in range(500):
        for message in survivors(channel.data_to_send(), chance):
            agent.receive(message, now)
        for message in survivors(agent.data_to_send(), chance):
            channel.receive(message, now)
        if not channel.outstanding:
            break
        now += 1.5
        channel.tick(now)
    else:
        raise AssertionError("it never came to an end")
    assert agent.typed == whole
    assert channel.next_timeout() is None


def test_a_duplicate_is_acknowledged_again_and_not_delivered_again() -> None:
    channel, agent = ready()
    message = agent.say(b"once")
    channel.receive(message, 1.0)
    channel.receive(message, 1.1)
    assert acks(channel.data_to_send()) == [1, 1]
    assert channel.events_received() == [Output(b"once")]


def test_what_comes_early_is_acknowledged_and_kept() -> None:
    channel, agent = ready()
    first, second, third = (agent.say(piece) for piece in (b"1", b"2", b"3"))
    channel.receive(third, 1.0)
    channel.receive(second, 1.0)
    assert acks(channel.data_to_send()) == [3, 2]
    assert channel.events_received() == []
    channel.receive(first, 1.0)
    assert channel.events_received() == [Output(b"123")]


def test_what_is_too_far_ahead_is_neither_kept_nor_acknowledged() -> None:
    channel, agent = ready()
    agent.outgoing.next_sequence = 100_000
    channel.receive(agent.say(b"far"), 1.0)
    assert channel.data_to_send() == []
    assert channel.dropped == 1


def test_the_head_is_repeated_until_it_is_acknowledged() -> None:
    channel, agent = ready()
    channel.send_input(b"a", 10.0)
    channel.send_input(b"b", 10.0)
    first = channel.data_to_send()
    due = channel.next_timeout()
    assert due is not None
    assert due >= 10.1
    channel.tick(due - 0.01)
    assert channel.data_to_send() == []
    channel.tick(due)
    assert channel.data_to_send() == first[:1]
    agent.receive(first[0])
    for message in agent.data_to_send():
        channel.receive(message, due)
    channel.tick(due + 5)
    assert channel.data_to_send() == first[1:]


def test_after_three_thousand_repetitions_it_is_given_up() -> None:
    channel, _ = ready()
    channel.send_input(b"a", 0.0)
    now = 0.0
    for _ in range(3000):
        now = max(now, channel.next_timeout() or 0.0)
        channel.tick(now)
    spent = [channel.exhausted]
    channel.tick(channel.next_timeout() or 0.0)
    spent.append(channel.exhausted)
    assert spent == [False, True]


def test_a_reconnect_sends_everything_unacknowledged_again_in_order() -> None:
    channel, agent = ready()
    channel.send_input(b"x" * 3000, 1.0)
    sent = channel.data_to_send()
    agent.receive(sent[1])
    channel.receive(agent.data_to_send()[-1], 1.0)
    channel.send_input(b"y", 2.0)  # not sent: the connection is already gone
    channel.connect("token-2", 3.0)
    hello, *rest = channel.data_to_send()
    assert json.loads(hello)["TokenValue"] == "token-2"
    assert [number for number, _, _ in inputs(rest)] == [0, 2, 3]
    assert rest[0] == sent[0]
    assert rest[1] == sent[2]


def test_a_reconnect_keeps_acknowledgements_that_were_not_sent() -> None:
    channel, agent = ready()
    channel.receive(agent.say(b"x"), 1.0)
    channel.connect("token-2", 3.0)
    hello, *rest = channel.data_to_send()
    assert isinstance(hello, str)
    assert acks(rest) == [1]


# ---------------------------------------------------------------------- broken messages


def damaged(**changes: int | bytes) -> bytes:
    """A frame of output with fields overwritten at their offsets."""
    frame = bytearray(AgentSide().say(b"payload"))
    for name, value in changes.items():
        at = int(name.removeprefix("at_"))
        raw = value if isinstance(value, bytes) else struct.pack(">I", value)
        frame[at : at + len(raw)] = raw
    return bytes(frame)


@pytest.mark.parametrize(
    "message",
    [
        damaged(at_0=0),
        damaged(at_0=117),
        damaged(at_0=4096),
        damaged(at_0=0xFFFFFFFF),
        damaged(at_4=b" " * 32),
        damaged(at_4=b"\xff" * 32),
        damaged(at_40=bytes(8)),
        damaged(at_80=bytes(32)),
        damaged(at_120=b"P"),
        damaged()[:119],
        damaged()[:121],
        damaged()[:60],
        b"",
        b"\0",
        b"{}",
    ],
)
def test_a_broken_frame_is_dropped_and_not_acknowledged(message: bytes) -> None:
    channel = start()
    channel.receive(message, 1.0)
    assert channel.data_to_send() == []
    assert channel.events_received() == []
    assert channel.dropped == 1
    # and its repetition, unbroken, is taken
    channel.receive(AgentSide().say(b"payload"), 1.0)
    assert channel.events_received() == [Output(b"payload")]


def test_a_wrong_digest_is_ignored_on_what_is_not_output() -> None:
    channel, agent = ready()
    closing = bytearray(agent.close("bye"))
    closing[80:112] = bytes(32)
    channel.receive(bytes(closing), 1.0)
    assert channel.events_received() == [Closed("bye")]


def test_a_type_padded_with_nul_is_read() -> None:
    channel, agent = ready()
    frame = bytearray(agent.say(b"x"))
    frame[4:36] = b"output_stream_data".ljust(32, b"\0")
    channel.receive(bytes(frame), 1.0)
    assert channel.events_received() == [Output(b"x")]


def test_a_frame_sent_as_text_is_read() -> None:
    channel, agent = ready()
    closing = agent.frame(MessageType.CHANNEL_CLOSED, b'{"Output":"x"}', flags=0)
    channel.receive(closing.decode("latin-1"), 1.0)
    assert channel.ended or channel.dropped  # whatever the re-encoding made of it: no exception


def test_a_message_larger_than_usual_is_taken() -> None:
    channel, agent = ready()
    channel.receive(agent.say(b"z" * 200_000), 1.0)
    assert channel.events_received() == [Output(b"z" * 200_000)]


def test_an_empty_payload_is_acknowledged_and_gives_nothing() -> None:
    channel, agent = ready()
    channel.receive(agent.say(b""), 1.0)
    assert acks(channel.data_to_send()) == [1]
    assert channel.events_received() == []


@pytest.mark.parametrize(
    "kind",
    [
        MessageType.START_PUBLICATION,
        MessageType.PAUSE_PUBLICATION,
        MessageType.AGENT_SESSION_STATE,
        "something_new",
    ],
)
@pytest.mark.parametrize("payload_type", [0, 17])
def test_other_message_types_change_nothing(kind: str, payload_type: int) -> None:
    channel, agent = ready()
    channel.receive(agent.frame(kind, b"{}", payload_type), 1.0)
    assert channel.data_to_send() == []
    assert channel.events_received() == []
    channel.receive(agent.say(b"x"), 1.0)
    assert channel.events_received() == [Output(b"x")]


@pytest.mark.parametrize("kind", [3, 4, 6, 9, 13, 99, 0xFFFFFFFF])
def test_payload_types_without_meaning_are_acknowledged_only(kind: int) -> None:
    channel, agent = ready()
    channel.receive(agent.say(b"?", kind), 1.0)
    assert acks(channel.data_to_send()) == [1]
    assert channel.events_received() == []


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
payloads = st.one_of(
    st.binary(max_size=80),
    json_values.map(lambda value: json.dumps(value).encode()),
    st.fixed_dictionaries(
        {},
        optional={
            "AcknowledgedMessageSequenceNumber": json_values,
            "RequestedClientActions": st.lists(
                st.fixed_dictionaries(
                    {},
                    optional={
                        "ActionType": st.sampled_from(["SessionType", "KMSEncryption", "\ud800"])
                        | json_values,
                        "ActionParameters": json_values
                        | st.dictionaries(
                            st.sampled_from(["SessionType", "KMSKeyId", "Challenge", "Properties"]),
                            json_values,
                        ),
                    },
                )
                | json_values,
                max_size=3,
            )
            | json_values,
            "AgentVersion": json_values,
            "CustomerMessage": json_values,
            "HandshakeTimeToComplete": json_values,
            "Challenge": json_values,
            "Output": json_values,
        },
    ).map(lambda value: json.dumps(value).encode()),
    st.just(b"[" * 100_000),
    st.just(b'{"AcknowledgedMessageSequenceNumber":' + b"9" * 5000 + b"}"),
)
KINDS = [
    MessageType.OUTPUT,
    MessageType.OUTPUT,
    MessageType.ACKNOWLEDGE,
    MessageType.START_PUBLICATION,
    MessageType.INPUT,
]


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_no_peer_can_make_it_raise(data: st.DataObject) -> None:
    channel, agent = start(), AgentSide()
    channel.send_input(b"held", 0.0)
    for _ in range(data.draw(st.integers(1, 8))):
        choice = data.draw(st.integers(0, 4))
        message: bytes | str
        if choice == 0:
            message = data.draw(st.binary(max_size=300) | st.text(max_size=50))
        elif choice == 1:
            raw = bytearray(agent.say(data.draw(payloads), data.draw(st.integers(0, 20))))
            raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
            message = bytes(raw)
        else:
            kind = data.draw(st.sampled_from([*KINDS, MessageType.CHANNEL_CLOSED]))
            message = agent.frame(
                kind,
                data.draw(payloads),
                data.draw(st.integers(0, 13)),
                data.draw(st.integers(0, 3) | st.integers(-(2**63), 2**63 - 1)),
            )
        channel.receive(message, 1.0)
        if channel.data_key_needed is not None and data.draw(st.booleans()):
            if data.draw(st.booleans()):
                channel.provide_data_key(bytes(data.draw(st.sampled_from([0, 64]))), b"c", 1.0)
            else:
                channel.refuse_data_key("no \ud800", 1.0)
        channel.tick(data.draw(st.floats(0, 10)))
        channel.next_timeout()
        channel.data_to_send()
        for event in channel.events_received():
            repr(event)


# ---------------------------------------------------------------------- payloads


def test_every_kind_of_payload_becomes_its_event() -> None:
    channel, agent = ready()
    channel.receive(agent.say(b"out"), 1.0)
    channel.receive(agent.say(b"put"), 1.0)
    channel.receive(agent.say(b"err", PayloadType.STDERR), 1.0)
    channel.receive(agent.say(b"or", PayloadType.STDERR), 1.0)
    channel.receive(agent.say(b"EXIT_CODE: -1", PayloadType.EXIT_CODE), 1.0)
    channel.receive(agent.say(struct.pack(">I", 3), PayloadType.FLAG), 1.0)
    channel.receive(agent.say(b"more"), 1.0)
    channel.receive(agent.say(b"!", PayloadType.ERROR), 1.0)
    assert channel.events_received() == [
        Output(b"output"),
        StdErr(b"error"),
        ExitCode(-1),
        Flag(3),
        Output(b"more"),
        StdErr(b"!"),
    ]
    assert acks(channel.data_to_send()) == [1, 2, 3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize("said", [b"", b"EXIT_CODE:", b"EXIT_CODE: x", b"\xff", b"3"])
def test_an_exit_code_that_cannot_be_read_is_none(said: bytes) -> None:
    channel, agent = ready()
    channel.receive(agent.say(said, PayloadType.EXIT_CODE), 1.0)
    assert channel.events_received() == []


# ---------------------------------------------------------------------- the end


def test_the_end_comes_after_all_that_is_in_order() -> None:
    channel, agent = ready()
    one, _hole, three = (agent.say(piece) for piece in (b"1", b"2", b"3"))
    channel.receive_many([one, three, agent.close("it failed"), agent.say(b"4")], 1.0)
    assert channel.closed
    assert channel.events_received() == [Output(b"1"), Closed("it failed")]
    assert channel.events_received() == []
    assert acks(channel.data_to_send()) == [1, 3]
    channel.send_input(b"late", 2.0)
    assert channel.data_to_send() == []
    assert channel.next_timeout() is None


def test_the_end_may_come_before_anything_else() -> None:
    channel, agent = start(), AgentSide()
    channel.receive(agent.close("\n----------ERROR-------\nno such thing"), 1.0)
    assert channel.events_received() == [Closed("\n----------ERROR-------\nno such thing")]


@pytest.mark.parametrize("payload", [b"", b"no json", b"[]", b'{"Output":5}', b"{}"])
def test_an_end_that_cannot_be_read_is_an_end(payload: bytes) -> None:
    channel, agent = ready()
    channel.receive(agent.frame(MessageType.CHANNEL_CLOSED, payload), 1.0)
    assert channel.events_received() == [Closed("")]


def test_a_session_is_lost_once() -> None:
    channel, agent = ready()
    channel.receive(agent.say(b"x"), 1.0)
    channel.fail("the network")
    channel.fail("again")
    channel.receive(agent.close(), 1.0)
    assert channel.events_received() == [Output(b"x"), Lost("the network")]
    assert channel.ended
    assert not channel.closed


# ---------------------------------------------------------------------- when input may be sent


def test_input_is_held_until_the_first_output_and_then_follows_the_size() -> None:
    channel, agent = start(), AgentSide()
    channel.send_size(80, 24, 0.1)
    channel.send_input(b"ls\r", 0.1)
    channel.send_size(132, 40, 0.2)
    channel.tick(0.5)
    assert channel.data_to_send() == []
    assert channel.outstanding == 3
    channel.receive(agent.say(b"$ "), 1.0)
    assert is_ready(channel)
    assert inputs(channel.data_to_send()) == [
        (0, PayloadType.SIZE, b'{"cols":132,"rows":40}'),
        (1, PayloadType.OUTPUT, b"ls\r"),
    ]


def test_input_is_held_until_the_handshake_is_complete() -> None:
    channel, agent = start(), AgentSide()
    channel.send_input(b"ls\r", 0.1)
    agent.shake(kms=False, session_type="Port")
    channel.receive(agent.data_to_send()[0], 1.0)
    # Output in the middle of a handshake does not make it ready either.
    channel.receive(agent.say(b"early"), 1.0)
    sent = channel.data_to_send()
    assert [kind for _, kind, _ in inputs(sent)] == [PayloadType.HANDSHAKE_RESPONSE]
    assert not is_ready(channel)
    for message in sent:
        agent.receive(message)
    for message in agent.data_to_send():
        channel.receive(message, 2.0)
    assert is_ready(channel)
    assert inputs(channel.data_to_send()) == [(1, PayloadType.OUTPUT, b"ls\r")]
    assert channel.events_received() == [
        Output(b"early"),
        HandshakeComplete("3.3.1611.0", "Port", "", False),
    ]


def test_a_silent_command_is_asked_with_a_size_before_it_gets_input() -> None:
    channel, agent = start(), AgentSide()
    channel.send_input(b"for cat", 0.5)
    assert channel.next_timeout() == 3.0
    channel.tick(2.9)
    assert channel.data_to_send() == []
    channel.tick(3.0)
    probe = channel.data_to_send()
    assert inputs(probe) == [(0, PayloadType.SIZE, b'{"cols":80,"rows":24}')]
    channel.tick(3.1)
    assert inputs(channel.data_to_send()) == []
    agent.receive(probe[0])
    channel.receive(agent.data_to_send()[0], 3.5)
    assert not is_ready(channel)
    channel.tick(4.4)
    assert not is_ready(channel)
    assert channel.next_timeout() == 4.5
    channel.tick(4.5)
    assert is_ready(channel)
    assert inputs(channel.data_to_send()) == [(1, PayloadType.OUTPUT, b"for cat")]


def test_a_handshake_after_the_question_holds_input_back_still() -> None:
    channel, agent = start(), AgentSide()
    channel.send_input(b"secret", 0.5)
    channel.tick(3.0)
    agent.receive(channel.data_to_send()[0])
    channel.receive(agent.data_to_send()[0], 3.5)
    agent.shake(kms=True)
    channel.receive(agent.data_to_send()[0], 3.6)
    channel.tick(10.0)
    assert not is_ready(channel)
    assert all(b"secret" not in payload for _, _, payload in inputs(channel.data_to_send()))


def test_long_input_goes_in_messages_of_1024_bytes() -> None:
    channel, _ = ready()
    channel.send_input(b"a" * 2500, 1.0)
    assert [len(payload) for _, _, payload in inputs(channel.data_to_send())] == [1024, 1024, 452]
    assert channel.outstanding == 2500
    channel.send_input(b"", 1.0)
    assert channel.data_to_send() == []


# ---------------------------------------------------------------------- handshake and KMS


def talk(channel: DataChannel, agent: AgentSide, now: float = 1.0) -> list[Event]:
    """Carry messages to and fro until both are silent."""
    events: list[Event] = []
    for _ in range(20):
        for message in agent.data_to_send():
            channel.receive(message, now)
        if channel.data_key_needed is not None:
            channel.provide_data_key(agent.data_key, b"blob", now)
        events += channel.events_received()
        sent = channel.data_to_send()
        for answer in sent:
            agent.receive(answer, now)
        if not sent and not agent.to_send:
            break
    return events


def test_an_encrypted_session_from_end_to_end() -> None:
    channel, agent = start(), AgentSide()
    agent.data_key = bytes(range(64))
    channel.send_input(b"ls\r", 0.0)
    agent.shake(kms=True)
    channel.receive(agent.data_to_send()[0], 0.5)
    assert channel.data_key_needed is not None
    assert channel.data_key_needed.key_id == "alias/exec"
    assert channel.data_key_needed.context == {
        "aws:ssm:SessionId": SESSION,
        "aws:ssm:TargetId": TARGET,
        "aws:ssm:RandomChallenge": "Y2hhbGxlbmdl",
    }
    events = talk(channel, agent)
    assert events == [
        HandshakeComplete(
            "3.3.1611.0", "InteractiveCommands", "This session is encrypted using AWS KMS.", True
        )
    ]
    assert agent.response is not None
    assert agent.response["ProcessedClientActions"][1]["ActionResult"] == {
        "KMSCipherTextKey": "YmxvYg==",
        "KMSCipherTextHash": None,
        "ChallengeAcknowledgement": True,
    }
    assert agent.typed == b"ls\r"
    channel.send_size(80, 24, 1.0)
    agent.say(b"secret output")
    agent.say(b"secret error", PayloadType.STDERR)
    agent.say(b"EXIT_CODE: 0", PayloadType.EXIT_CODE)
    assert talk(channel, agent) == [
        Output(b"secret output"),
        StdErr(b"secret error"),
        ExitCode(0),
    ]
    assert agent.sizes == [{"cols": 80, "rows": 24}]  # in the clear


def test_keys_outlive_a_reconnect() -> None:
    channel, agent = start(), AgentSide()
    agent.data_key = bytes(range(64))
    agent.shake(kms=True)
    talk(channel, agent)
    channel.connect("token-2", 5.0)
    channel.data_to_send()
    agent.say(b"still secret")
    channel.send_input(b"typed", 5.0)
    assert talk(channel, agent) == [Output(b"still secret")]
    assert agent.typed == b"typed"


def test_without_a_data_key_the_agent_hears_why_and_closes() -> None:
    channel, agent = start(), AgentSide()
    agent.shake(kms=True)
    channel.receive(agent.data_to_send()[0], 0.5)
    channel.refuse_data_key("AccessDenied: kms:GenerateDataKey", 0.6)
    (closed,) = talk(channel, agent)
    assert agent.response is not None
    answer = agent.response["ProcessedClientActions"][1]
    assert answer["ActionStatus"] == 2
    assert answer["Error"] == "AccessDenied: kms:GenerateDataKey"
    assert isinstance(closed, Closed)
    assert "kms:GenerateDataKey" in closed.output


def test_a_data_key_of_the_wrong_length_is_refused() -> None:
    channel, agent = start(), AgentSide()
    agent.shake(kms=True)
    channel.receive(agent.data_to_send()[0], 0.5)
    channel.provide_data_key(bytes(32), b"blob", 0.6)
    talk(channel, agent)
    assert agent.response is not None
    assert agent.response["ProcessedClientActions"][1]["ActionStatus"] == 2


def test_a_data_key_nobody_asked_for_is_ignored() -> None:
    channel, _ = ready()
    channel.provide_data_key(bytes(64), b"blob", 1.0)
    channel.refuse_data_key("why", 1.0)
    assert channel.data_to_send() == []


def test_unknown_actions_and_session_types_are_answered_as_such() -> None:
    channel, agent = start(), AgentSide()
    request = {
        "AgentVersion": "9",
        "RequestedClientActions": [
            {"ActionType": "SessionType", "ActionParameters": {"SessionType": "Hologram"}},
            {"ActionType": "Dance", "ActionParameters": {}},
        ],
    }
    channel.receive(agent.say(json.dumps(request).encode(), 5), 1.0)
    ((_, kind, payload),) = inputs(channel.data_to_send())
    assert kind == PayloadType.HANDSHAKE_RESPONSE
    answers = json.loads(payload)["ProcessedClientActions"]
    assert [answer["ActionStatus"] for answer in answers] == [2, 3]
    assert "Hologram" in answers[0]["Error"]


def test_output_in_the_clear_is_not_taken_where_encryption_was_asked_for() -> None:
    channel, agent = start(), AgentSide()
    agent.shake(kms=True)
    agent.say(b"in the clear")
    for message in agent.data_to_send():
        channel.receive(message, 1.0)
    (lost,) = channel.events_received()
    assert isinstance(lost, Lost)
    assert channel.data_key_needed is None


def test_output_in_the_clear_is_not_taken_once_encrypted() -> None:
    channel, agent = start(), AgentSide()
    agent.data_key = bytes(range(64))
    agent.shake(kms=True)
    talk(channel, agent)
    agent.cipher = None
    agent.say(b"in the clear")
    (lost,) = talk(channel, agent)
    assert isinstance(lost, Lost)


def test_a_handshake_cannot_end_without_the_encryption_it_asked_for() -> None:
    channel, agent = start(), AgentSide()
    agent.shake(kms=True)
    agent.say(b"{}", PayloadType.HANDSHAKE_COMPLETE)
    for message in agent.data_to_send():
        channel.receive(message, 1.0)
    (lost,) = channel.events_received()
    assert isinstance(lost, Lost)
    assert not is_ready(channel)


def test_a_second_handshake_cannot_take_encryption_away() -> None:
    channel, agent = start(), AgentSide()
    agent.data_key = bytes(range(64))
    agent.shake(kms=True)
    talk(channel, agent)
    agent.shake(kms=False)
    assert talk(channel, agent) == []
    channel.send_input(b"typed", 2.0)
    ((_, _, payload),) = inputs(channel.data_to_send())
    assert SessionCipher(agent.data_key, agent=True).decrypt(payload) == b"typed"


def test_a_challenge_for_another_key_ends_the_session() -> None:
    channel, agent = start(), AgentSide()
    agent.data_key = bytes(range(64))
    agent.shake(kms=True)
    channel.receive(agent.data_to_send()[0], 0.5)
    channel.provide_data_key(bytes(64), b"blob", 0.6)
    for sent in channel.data_to_send():
        agent.receive(sent)
    for said in agent.data_to_send():
        channel.receive(said, 0.7)
    (lost,) = channel.events_received()
    assert isinstance(lost, Lost)


def test_digests_are_over_what_is_transmitted() -> None:
    channel, agent = start(), AgentSide()
    agent.data_key = bytes(range(64))
    agent.shake(kms=True)
    talk(channel, agent)
    channel.send_input(b"x" * 1024, 1.0)
    (message,) = channel.data_to_send()
    assert isinstance(message, bytes)
    assert len(message) == 120 + 1052
    assert message[80:112] == sha256(message[120:]).digest()
