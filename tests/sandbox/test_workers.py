"""The workers of one container's agent: two at once, whatever comes."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from ecs_exec_magic.sandbox.workers import Workers


async def test_workers_hand_slots_to_who_waits_longest() -> None:
    workers = Workers(retry=0.0, wedge=False)
    await workers.take()
    await workers.take()
    order: list[int] = []

    async def one(number: int) -> None:
        await workers.take()
        order.append(number)

    waiting = [asyncio.ensure_future(one(n)) for n in range(4)]
    await asyncio.sleep(0)
    waiting[1].cancel()
    workers.give()
    waiting[2].cancel()  # its turn may already have come
    workers.give()
    workers.give()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert order == [0, 3]
    await workers.take()
    assert not workers.stuck


@given(st.lists(st.sampled_from(["take", "give", "cancel"]), max_size=40))
def test_never_more_than_two_whatever_comes(actions: list[str]) -> None:
    async def play() -> None:
        workers = Workers(retry=0.0, wedge=False)
        running = most = 0
        tasks: list[asyncio.Task[None]] = []

        async def one() -> None:
            nonlocal running, most
            await workers.take()
            running += 1
            most = max(most, running)

        for action in actions:
            if action == "take":
                tasks.append(asyncio.ensure_future(one()))
            elif action == "give" and running:
                running -= 1
                workers.give()
            elif action == "cancel" and tasks:
                tasks[len(tasks) // 2].cancel()
            await asyncio.sleep(0)
        for _ in range(60):
            while running:
                running -= 1
                workers.give()
            await asyncio.sleep(0)
        await asyncio.gather(*tasks, return_exceptions=True)
        assert most <= 2
        await workers.take()
        await workers.take()

    asyncio.run(asyncio.wait_for(play(), 20))


async def test_a_stuck_loop_stays_stuck() -> None:
    workers = Workers(retry=0.0, wedge=True)
    tasks = [asyncio.ensure_future(workers.take()) for _ in range(4)]
    for _ in range(20):
        await asyncio.sleep(0)
    assert [task.done() for task in tasks] == [True, True, False, False]
    assert workers.stuck
    tasks[3].cancel()
    tasks.append(asyncio.ensure_future(workers.take()))
    for _ in range(3):
        workers.give()
        await asyncio.sleep(0)
    assert tasks[2].done()
    for _ in range(20):
        await asyncio.sleep(0)
    assert not tasks[4].done()
    tasks[4].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_slot_in_time_frees_the_loop() -> None:
    workers = Workers(retry=0.05, wedge=True)
    for _ in range(2):
        await workers.take()
    queued, late = (asyncio.ensure_future(workers.take()) for _ in range(2))
    await asyncio.sleep(0.01)
    workers.give()
    await queued
    assert not workers.stuck
    workers.give()
    await asyncio.wait_for(late, 5)
