"""Our codec and our client against what the official agent and plugin really sent."""

from __future__ import annotations

import base64
import json
from dataclasses import replace

import pytest

from ecs_exec_magic.channel.encryption import SessionCipher
from ecs_exec_magic.channel.events import (
    Closed,
    Event,
    ExitCode,
    HandshakeComplete,
    Output,
    StdErr,
)
from ecs_exec_magic.channel.frames import MessageType, acknowledgement, decode, encode
from ecs_exec_magic.channel.protocol import DataChannel

from .recordings import NAMES, Recording, read

PLUGIN_VERSION = "1.2.0.0"


def test_there_are_recordings() -> None:
    assert len(NAMES) >= 24


@pytest.mark.parametrize("name", NAMES)
def test_every_frame_is_reproduced_byte_for_byte(name: str) -> None:
    seen = 0
    for line in read(name).lines:
        if line.data:
            frame = line.frame
            assert frame.digest_ok
            assert encode(frame) == line.data
            seen += 1
    assert seen


@pytest.mark.parametrize("name", NAMES)
def test_every_acknowledgement_is_reproduced_from_the_template(name: str) -> None:
    recording = read(name)
    stream = {
        (line.direction, line.frame.sequence): line
        for line in recording.lines
        if line.data and line.frame.message_type in (MessageType.INPUT, MessageType.OUTPUT)
    }
    for line in recording.lines:
        if not line.data or line.frame.message_type != MessageType.ACKNOWLEDGE:
            continue
        said = json.loads(line.frame.payload)
        number = said["AcknowledgedMessageSequenceNumber"]
        other = "agent>client" if line.direction == "client>agent" else "client>agent"
        acked = stream[other, number]
        assert said["AcknowledgedMessageId"] == str(acked.frame.message_id)
        ours = acknowledgement(
            acked.frame.message_type,
            acked.data[64:80],
            number,
            line.frame.message_id.bytes,
            line.frame.created,
        )
        assert ours == line.data


def replay(recording: Recording) -> tuple[DataChannel, list[Event], list[bytes], list[str]]:
    """Let our core live through a recording, typing what the plugin's user typed."""
    hello = recording.hello
    channel = DataChannel(
        recording.session_id,
        target="ecs:lab_0123456789abcdef0123456789abcdef_0123456789abcdef0123456789abcdef-1111111111",
        client_id=hello["ClientId"],
        client_version=PLUGIN_VERSION,
    )
    channel.connect(hello["TokenValue"], 0.0)
    events: list[Event] = []
    for line in recording.lines:
        if line.direction.endswith(">client"):
            channel.receive(line.data or line.text, line.time)
        elif line.direction == "client>agent":
            frame = line.frame
            payload = frame.payload
            if frame.message_type == MessageType.INPUT:
                if frame.payload_type == 1:
                    if recording.header["kms"]:
                        payload = SessionCipher(recording.data_key()[0], agent=True).decrypt(
                            payload
                        )
                    channel.send_input(payload, line.time)
                elif frame.payload_type == 3:
                    size = json.loads(payload)
                    channel.send_size(size["cols"], size["rows"], line.time)
                elif frame.payload_type == 10:
                    channel.send_flag(int.from_bytes(payload, "big"), line.time)
        if channel.data_key_needed is not None:
            key, blob, context = recording.data_key()
            asked = dict(channel.data_key_needed.context)
            # The recorded plugin is older than the challenge: it neither used nor acknowledged it.
            assert asked.pop("aws:ssm:RandomChallenge")
            assert asked == context
            channel.provide_data_key(key, blob, line.time)
        events += channel.events_received()
    sent = channel.data_to_send()
    return (
        channel,
        events,
        [message for message in sent if isinstance(message, bytes)],
        [message for message in sent if isinstance(message, str)],
    )


@pytest.mark.parametrize("name", NAMES)
def test_our_client_sends_what_the_plugin_sent(name: str) -> None:
    recording = read(name)
    _, _, sent, texts = replay(recording)

    hello = json.loads(texts[0])
    assert len(texts) == 1
    assert {**hello, "RequestId": ""} == {**recording.hello, "RequestId": ""}
    assert list(hello) == list(recording.hello)

    theirs = [line.frame for line in recording.frames("client>agent")]
    ours = [decode(message) for message in sent]

    their_acks = {
        json.loads(frame.payload)["AcknowledgedMessageSequenceNumber"]: frame
        for frame in theirs
        if frame.message_type == MessageType.ACKNOWLEDGE
    }
    our_acks = {
        json.loads(frame.payload)["AcknowledgedMessageSequenceNumber"]: frame
        for frame in ours
        if frame.message_type == MessageType.ACKNOWLEDGE
    }
    # The plugin may have been killed before it acknowledged the last ones.
    assert set(their_acks) <= set(our_acks)
    for number, frame in their_acks.items():
        mine = our_acks[number]
        assert encode(replace(mine, message_id=frame.message_id, created=frame.created)) == encode(
            frame
        )

    their_input = {f.sequence: f for f in theirs if f.message_type == MessageType.INPUT}
    our_input = {f.sequence: f for f in ours if f.message_type == MessageType.INPUT}
    assert list(our_input) == list(range(len(our_input)))
    assert set(their_input) == set(our_input)
    for number, frame in their_input.items():
        mine = replace(our_input[number], message_id=frame.message_id, created=frame.created)
        if recording.header["kms"] and frame.payload_type in (1, 6, 9):
            # Not comparable as bytes: the nonces are random, and the recorded plugin is older
            # than the challenge's acknowledgement. What is in them is compared instead.
            assert mine.payload_type == frame.payload_type
            cipher = SessionCipher(recording.data_key()[0], agent=True)
            if frame.payload_type == 1:
                assert cipher.decrypt(mine.payload) == cipher.decrypt(frame.payload)
            elif frame.payload_type == 9:
                mine_text = base64.b64decode(json.loads(mine.payload)["Challenge"])
                their_text = base64.b64decode(json.loads(frame.payload)["Challenge"])
                assert cipher.decrypt(mine_text) == cipher.decrypt(their_text)
            else:
                said = json.loads(mine.payload)
                result = said["ProcessedClientActions"][1]["ActionResult"]
                assert result.pop("ChallengeAcknowledgement") is True
                assert json.dumps(said, separators=(",", ":")).encode() == frame.payload
        else:
            assert encode(mine) == encode(frame)


def closing_words(recording: Recording, events: list[Event]) -> str:
    last = events[-1]
    assert isinstance(last, Closed)
    if last.output:
        return f"\n\nSessionId: {recording.session_id} : {last.output}\n\n"
    return f"\n\nExiting session with sessionId: {recording.session_id}.\n\n"


# Recordings whose client was killed, or was not a terminal: their screens do not end with the
# session's end.
UNFINISHED = {"client_killed", "client_sigterm", "ctrl_c", "port_http"}


@pytest.mark.parametrize("name", [name for name in NAMES if name not in UNFINISHED])
def test_our_client_comes_to_the_screen_that_the_plugin_showed(name: str) -> None:
    recording = read(name)
    channel, events, _, _ = replay(recording)
    assert channel.closed
    shown = f"\nStarting session with SessionId: {recording.session_id}\n".encode()
    for event in events:
        if isinstance(event, (Output, StdErr)):
            shown += event.data
        elif isinstance(event, ExitCode):
            shown += b"EXIT_CODE: %d" % event.code
        elif isinstance(event, HandshakeComplete):
            assert event.agent_version == "3.3.0.0"
            assert event.encrypted is bool(recording.header["kms"])
            if event.customer_message:
                shown += event.customer_message.encode() + b"\n"
    shown += closing_words(recording, events).encode()
    assert shown.replace(b"\n", b"\r\n") == recording.screen


@pytest.mark.parametrize("name", sorted(UNFINISHED))
def test_the_unfinished_recordings_are_lived_through(name: str) -> None:
    recording = read(name)
    channel, events, _, _ = replay(recording)
    said = b"".join(
        line.frame.payload
        for line in recording.frames("agent>client")
        if line.frame.message_type == MessageType.OUTPUT and line.frame.payload_type == 1
    )
    assert b"".join(event.data for event in events if isinstance(event, Output)) == said
    assert channel.ended == any(isinstance(event, Closed) for event in events)


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("kms")])
def test_the_kms_recordings_decrypt_to_what_the_screen_shows(name: str) -> None:
    recording = read(name)
    key, _, context = recording.data_key()
    assert context["aws:ssm:SessionId"] == recording.session_id
    cipher = SessionCipher(key)
    plain = b"".join(
        cipher.decrypt(line.frame.payload)
        for line in recording.frames("agent>client")
        if line.frame.message_type == MessageType.OUTPUT and line.frame.payload_type == 1
    )
    assert plain.strip()
    assert plain.replace(b"\n", b"\r\n") in recording.screen


def test_the_words_of_a_failed_start_arrive() -> None:
    _, events, _, _ = replay(read("not_found"))
    assert events == [
        Closed(
            "\n----------ERROR-------\nUnable to start command: Failed to start pty: exec: "
            '"nonexistent-cmd": executable file not found in $PATH\n\n'
        )
    ]


def test_separate_streams_and_the_exit_code_arrive() -> None:
    _, events, _, _ = replay(read("noninteractive_separate"))
    assert [event for event in events if not isinstance(event, HandshakeComplete)] == [
        StdErr(b"err\n"),
        Output(b"out\n"),
        ExitCode(3),
        Closed(""),
    ]
    assert isinstance(events[0], HandshakeComplete)
    assert events[0].session_type == "NonInteractiveCommands"


def test_a_port_session_hands_on_its_properties() -> None:
    _, events, _, _ = replay(read("port_http"))
    assert isinstance(events[0], HandshakeComplete)
    assert events[0].session_type == "Port"
    assert events[0].properties["portNumber"] == "9099"
