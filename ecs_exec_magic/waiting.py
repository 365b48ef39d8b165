"""Waiting with a limit.

Knows time and cancellation. Never knows what is waited for.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable

__all__ = ["wait_for"]

T = TypeVar("T")


async def wait_for(awaitable: Awaitable[T], timeout: float | None) -> T:
    """Do what :func:`asyncio.wait_for` does since Python 3.12.

    Before, it forgets that its task was cancelled when what it waits for is done in the same moment
    (https://github.com/python/cpython/issues/86296). Who cancels a task and waits for its end then
    waits for ever.

    Args:
        awaitable: cancelled when the time is up or the caller is, and then waited for.
        timeout: seconds; None waits for ever.

    Raises:
        asyncio.TimeoutError: the time is up.
    """
    future = asyncio.ensure_future(awaitable)
    try:
        await asyncio.wait([future], timeout=timeout)
    except asyncio.CancelledError:
        await _end(future)
        raise
    if not future.done():
        await _end(future)
        if future.cancelled():
            raise asyncio.TimeoutError
    return future.result()


async def _end(future: asyncio.Future[T]) -> None:
    future.cancel()
    await asyncio.wait([future])
    if not future.cancelled():
        future.exception()  # has been seen: nobody else will ask
