"""One open websocket: whole reads in, whole writes out.

Knows websocket messages, pings and how to put many messages into one write. Never knows how it was
connected, nor what a message says.
"""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING

from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MAX_MESSAGE", "WebSocket", "join_masked"]

logger = logging.getLogger(__name__)

MAX_MESSAGE = 1024 * 1024
"""Bytes of the largest message that is taken; both official ends send about 1 KiB."""

_BATCH = 64
"""Messages handed on together; with many more, what is read has left the processor's cache."""
_CLOSE_PATIENCE = 1.0
_BINARY, _TEXT, _CONTINUATION = WSMsgType.BINARY, WSMsgType.TEXT, WSMsgType.CONTINUATION
_PING, _CLOSE = WSMsgType.PING, WSMsgType.CLOSE


class WebSocket(WSListener):  # type: ignore[misc,unused-ignore]  # a Cython class
    """A websocket that hands on what it reads and reports its end once.

    Args:
        on_messages: called with all messages of one read.
        on_lost: called once, when no more will come, with the reason in a few words.

    Attributes:
        last_seen: the loop's time of the last read.
        lost: whether it has ended.
        reason: why, in a few words.
    """

    def __init__(
        self,
        on_messages: Callable[[list[bytes | str]], None],
        on_lost: Callable[[str], None],
    ) -> None:
        self._on_messages = on_messages
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._transport: WSTransport | None = None
        self._batch: list[bytes | str] = []
        self._partial: list[bytes] = []
        self._partial_size = 0
        self._partial_is_text = False
        self._reading = True
        self.reason = ""
        self.lost = False
        self._watch: asyncio.Task[None] | None = None
        self.last_seen = self._loop.time()

    def __repr__(self) -> str:
        return f"<WebSocket {'lost' if self.lost else 'open'}>"

    # ------------------------------------------------------------------ picows calls these

    def on_ws_connected(self, transport: WSTransport) -> None:
        """The upgrade is done."""
        self._transport = transport
        self._watch = self._loop.create_task(self._await_end(transport))

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """One frame was read; the messages of a read are handed on with its last frame."""
        kind = frame.msg_type
        if kind is _BINARY and frame.fin and not self._partial:
            self._batch.append(frame.get_payload_as_bytes())
        elif kind in (_BINARY, _TEXT, _CONTINUATION):
            self._add_part(kind, frame.get_payload_as_bytes(), frame.fin)
        elif kind is _PING:
            transport.send_pong(frame.get_payload_as_bytes())
        elif kind is _CLOSE:
            self.reason = _close_words(frame)
            self._deliver()
            transport.send_close(WSCloseCode.OK)
            transport.disconnect()
        if frame.last_in_buffer or len(self._batch) >= _BATCH:
            self._deliver()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """The socket is gone."""
        self._deliver()
        self._report(self.reason or "the connection was cut")

    def pause_writing(self) -> None:
        """The write buffer is full; what may be unacknowledged is bounded elsewhere."""

    def resume_writing(self) -> None:
        """The write buffer has room again."""

    async def _await_end(self, transport: WSTransport) -> None:
        try:
            await transport.wait_disconnected()
        except Exception as error:  # noqa: BLE001  # whatever picows met, it is the end
            logger.debug("websocket ended with %s", type(error).__name__)

    def _add_part(self, kind: WSMsgType, data: bytes, last: bool) -> None:
        if kind is not _CONTINUATION:
            self._partial_is_text = kind is _TEXT
            self._partial, self._partial_size = [], 0
        self._partial.append(data)
        self._partial_size += len(data)
        if self._partial_size > MAX_MESSAGE:
            self.abort("a message was too long")
        elif last:
            whole = b"".join(self._partial)
            self._partial, self._partial_size = [], 0
            self._batch.append(whole.decode(errors="replace") if self._partial_is_text else whole)

    def _deliver(self) -> None:
        self.last_seen = self._loop.time()
        if self._batch and not self.lost:
            batch, self._batch = self._batch, []
            self._on_messages(batch)

    def _report(self, reason: str) -> None:
        if not self.lost:
            self.lost, self.reason = True, reason
            self._on_lost(reason)

    # ------------------------------------------------------------------ for its owner

    def send(self, messages: list[bytes | str]) -> None:
        """Send messages in one write.

        A system call for each acknowledgement would cost more than all the rest of receiving, so
        several are framed here and go out together.
        """
        transport = self._transport
        if transport is None or not messages or transport.is_disconnected:
            return
        if transport.is_close_frame_sent:
            return
        if len(messages) == 1:
            only = messages[0]
            transport.send(_TEXT if isinstance(only, str) else _BINARY, only)
        else:
            transport.underlying_transport.write(join_masked(messages))

    def ping(self) -> None:
        """Ask the far end for a sign of life; any frame is one."""
        if self._transport is not None and not self._transport.is_disconnected:
            self._transport.send_ping(b"keepalive")

    @property
    def reading(self) -> bool:
        """Whether anything is read; what was not read may be a sign of life."""
        return self._reading

    def pause_reading(self) -> None:
        """Stop reading: the far end is slowed down by the network's own means."""
        if self._reading and self._transport is not None:
            self._reading = False
            self._transport.underlying_transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        if not self._reading and self._transport is not None:
            self._reading = True
            self.last_seen = self._loop.time()
            if not self._transport.is_disconnected:
                self._transport.underlying_transport.resume_reading()

    def abort(self, reason: str) -> None:
        """Give the socket up at once; reported as lost with this reason."""
        if self._transport is not None:
            self._transport.disconnect(graceful=False)
        self._report(reason)

    async def close(self) -> None:
        """Close in good order, what was written first; nothing is reported any more."""
        self.lost = True
        if self._transport is None or self._watch is None:
            return
        try:
            self._transport.send_close(WSCloseCode.OK)
            self._transport.disconnect()
            await asyncio.wait([self._watch], timeout=_CLOSE_PATIENCE)
        finally:
            self._transport.disconnect(graceful=False)


def _close_words(frame: WSFrame) -> str:
    code = int(frame.get_close_code().value)
    reason = frame.get_close_reason()
    return f"closed by the far end, code {code}" + (f" ({reason[:120]})" if reason else "")


def join_masked(messages: list[bytes | str]) -> bytes:
    """Return the messages as a client's websocket frames, one after the other (RFC 6455, 5.2).

    The masks of all frames are laid end to end and applied in one exclusive-or over the whole
    block, with zeros over the headers.
    """
    keys = os.urandom(4 * len(messages))
    plain: list[bytes] = []
    mask: list[bytes] = []
    at = 0
    for message in messages:
        if isinstance(message, str):
            message = message.encode()
            first = b"\x81"
        else:
            first = b"\x82"
        size = len(message)
        key = keys[at : at + 4]
        at += 4
        if size < 126:
            head = first + (0x80 | size).to_bytes(1, "big") + key
        elif size < 1 << 16:
            head = first + b"\xfe" + size.to_bytes(2, "big") + key
        else:
            head = first + b"\xff" + size.to_bytes(8, "big") + key
        plain.append(head)
        plain.append(message)
        mask.append(bytes(len(head)))
        mask.append((key * (size // 4 + 1))[:size])
    block = b"".join(plain)
    masked = int.from_bytes(block, "little") ^ int.from_bytes(b"".join(mask), "little")
    return masked.to_bytes(len(block), "little")
