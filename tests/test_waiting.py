"""Waiting with a limit: whatever ends first, nothing is forgotten."""

from __future__ import annotations

import asyncio

import pytest

from ecs_exec_magic.waiting import wait_for


async def test_what_it_gives() -> None:
    async def seven() -> int:
        await asyncio.sleep(0)
        return 7

    assert await wait_for(seven(), 60) == 7
    assert await wait_for(seven(), None) == 7
    failed: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    failed.set_exception(ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        await wait_for(failed, 60)
    given_up: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    given_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await wait_for(given_up, 60)


@pytest.mark.parametrize("limit", [0.01, 0, -1])
async def test_the_time_is_up(limit: float) -> None:
    ended = []

    async def long() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append(True)

    with pytest.raises(asyncio.TimeoutError):
        await wait_for(long(), limit)
    assert ended in ([True], [])  # what never began has nothing to end
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_it_is_done_while_it_is_being_ended() -> None:
    async def stubborn() -> int:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return 7
        return 0

    assert await wait_for(stubborn(), 0.01) == 7


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("turns", range(6))
async def test_a_cancellation_is_never_forgotten(turns: int, *, fails: bool) -> None:
    """Whichever turn of the loop it falls into, also that in which the other is done."""
    ready = asyncio.Event()
    went_on = []

    async def other() -> None:
        await ready.wait()
        if fails:
            raise ValueError("which nobody asks for")

    async def waits() -> None:
        await wait_for(other(), 60)
        went_on.append(True)
        await asyncio.Event().wait()

    task = asyncio.ensure_future(waits())
    for _ in range(3):
        await asyncio.sleep(0)
    assert ready._waiters
    ready.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task], timeout=60)
    assert task.done()
    if task.cancelled():
        assert not went_on or turns > 2
    else:
        assert fails
        assert isinstance(task.exception(), ValueError)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_the_caller_ends_after_what_it_waited_for() -> None:
    order = []

    async def other() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            order.append("other")

    async def waits() -> None:
        try:
            await wait_for(other(), 60)
        finally:
            order.append("caller")

    task = asyncio.ensure_future(waits())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert order == ["other", "caller"]
