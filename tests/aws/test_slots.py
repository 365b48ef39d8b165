"""Never a third session in one container, whoever asks, and nobody waits for ever."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecs_exec_magic.address import ContainerRef
from ecs_exec_magic.aws.slots import SESSIONS_PER_CONTAINER, Slots

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager


def ref(name: str = "app", task: str = "t1") -> ContainerRef:
    return ContainerRef("prod", None, "web", task, f"arn:{task}", name, "r", "eu-west-1")


async def take(hold: AbstractAsyncContextManager[None]) -> None:
    await hold.__aenter__()


async def settle() -> None:
    for _ in range(8):
        await asyncio.sleep(0)


async def test_two_at_once_and_the_third_waits() -> None:
    slots = Slots()
    order: list[int] = []
    leave = asyncio.Event()

    async def user(number: int) -> None:
        async with slots.hold(ref()):
            order.append(number)
            await leave.wait()

    users = [asyncio.create_task(user(number)) for number in range(5)]
    await settle()
    assert order == [0, 1]
    assert slots.taken(ref()) == 2
    assert slots.taken(ref("other")) == 0
    leave.set()
    await asyncio.gather(*users)
    assert order == [0, 1, 2, 3, 4]
    assert slots.taken(ref()) == 0
    assert slots._containers == {}


async def test_containers_do_not_share() -> None:
    slots = Slots()
    others = slots.hold(ref("sidecar")), slots.hold(ref("app", "t2"))
    async with slots.hold(ref()), slots.hold(ref()), others[0], others[1]:
        assert slots.taken(ref("sidecar")) == 1


async def test_place_comes_back_after_an_error() -> None:
    slots = Slots(1)
    for _ in range(3):
        with pytest.raises(ValueError, match="boom"):
            async with slots.hold(ref()):
                raise ValueError("boom")
    assert slots.taken(ref()) == 0


async def test_long_wait_is_told_once() -> None:
    slots = Slots(1, notice_after=0.01)
    told: list[str] = []
    first_word = asyncio.Event()

    def tell(text: str) -> None:
        told.append(text)
        first_word.set()

    second = slots.hold(ref(), tell)
    async with slots.hold(ref(), tell):
        waiting = asyncio.create_task(take(second))
        await asyncio.wait_for(first_word.wait(), 60)
        await asyncio.sleep(0.05)
        assert len(told) == 1
        assert "prod/t1:app" in told[0]
    await waiting
    assert slots.taken(ref()) == 1
    await second.__aexit__(None, None, None)
    assert slots.taken(ref()) == 0


async def test_short_wait_is_not_told() -> None:
    slots = Slots(1, notice_after=30)
    told: list[str] = []
    second = slots.hold(ref(), told.append)
    async with slots.hold(ref(), told.append):
        waiting = asyncio.create_task(take(second))
        await settle()
    await waiting
    assert told == []


async def test_failing_callback_leaves_no_waiter() -> None:
    slots = Slots(1, notice_after=0)

    def fail(_: str) -> None:
        raise RuntimeError("no display")

    async with slots.hold(ref()):
        with pytest.raises(RuntimeError, match="no display"):
            async with slots.hold(ref(), fail):
                pass
    assert slots.taken(ref()) == 0


async def test_cancelled_in_the_very_moment_of_its_turn() -> None:
    slots = Slots(1)
    first = slots.hold(ref())
    await first.__aenter__()
    holds = [slots.hold(ref()) for _ in range(2)]
    second, third = (asyncio.create_task(take(hold)) for hold in holds)
    await settle()
    await first.__aexit__(None, None, None)  # hands the place to the second, who has not woken yet
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    await asyncio.wait_for(third, 5)
    assert slots.taken(ref()) == 1


def test_a_loop_that_is_closed_waits_no_more() -> None:
    slots = Slots(1)
    gone, alive = asyncio.new_event_loop(), asyncio.new_event_loop()
    try:
        first = slots.hold(ref())
        alive.run_until_complete(first.__aenter__())
        holds = [slots.hold(ref()) for _ in range(2)]
        lost = gone.create_task(take(holds[0]))
        gone.run_until_complete(asyncio.sleep(0))
        gone.close()

        async def main() -> None:
            next_one = asyncio.create_task(take(holds[1]))
            await settle()
            await first.__aexit__(None, None, None)
            await asyncio.wait_for(next_one, 5)
            assert slots.taken(ref()) == 1

        alive.run_until_complete(main())
        lost._log_destroy_pending = False  # type: ignore[attr-defined]  # that it is lost is meant
    finally:
        alive.close()
        gone.close()


def test_several_loops_in_several_threads_share_the_places() -> None:
    slots = Slots(notice_after=30)
    now = Counter[str]()
    most = Counter[str]()
    lock = threading.Lock()
    errors: list[BaseException] = []

    async def user(name: str) -> None:
        async with slots.hold(ref(name)):
            with lock:
                now[name] += 1
                most[name] = max(most[name], now[name])
            await asyncio.sleep(0.001)
            with lock:
                now[name] -= 1

    async def crowd() -> None:
        await asyncio.gather(*(user("ab"[number % 2]) for number in range(40)))

    def run() -> None:
        try:
            asyncio.run(asyncio.wait_for(crowd(), 60))
        except BaseException as error:  # noqa: BLE001 - told below, in the thread of the test
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert most == {"a": SESSIONS_PER_CONTAINER, "b": SESSIONS_PER_CONTAINER}
    assert slots._containers == {}


_ACTIONS = st.lists(
    st.tuples(st.sampled_from(["ask", "leave", "cancel", "tick"]), st.integers(0, 7)), max_size=60
)


@settings(max_examples=200, deadline=None)
@given(_ACTIONS, st.integers(1, 3))
def test_any_order_of_asking_leaving_and_cancelling(
    actions: list[tuple[str, int]], limit: int
) -> None:
    asyncio.run(_play(actions, limit))


async def _play(actions: list[tuple[str, int]], limit: int) -> None:
    slots = Slots(limit, notice_after=30)
    inside: set[int] = set()
    asked: list[int] = []
    entered: list[int] = []
    cancelled: set[int] = set()
    leave: dict[int, asyncio.Event] = {}
    tasks: dict[int, asyncio.Task[Any]] = {}

    async def user(number: int) -> None:
        async with slots.hold(ref()):
            inside.add(number)
            entered.append(number)
            assert len(inside) <= limit
            try:
                await leave[number].wait()
            finally:
                inside.discard(number)

    for action, which in actions:
        if action == "ask":
            await settle()  # a place that was handed over counts as entered once its holder wakes
            number = len(asked)
            asked.append(number)
            leave[number] = asyncio.Event()
            tasks[number] = asyncio.create_task(user(number))
            await asyncio.sleep(0)
        elif action == "tick":
            await settle()
        elif asked:
            number = asked[which % len(asked)]
            if action == "leave":
                leave[number].set()
            elif not tasks[number].done():
                cancelled.add(number)
                tasks[number].cancel()
        assert slots.taken(ref()) <= limit
    for event in leave.values():
        event.set()
    outcomes = await asyncio.wait_for(
        asyncio.gather(*tasks.values(), return_exceptions=True), timeout=60
    )
    for number, outcome in zip(tasks, outcomes, strict=True):
        assert outcome is None or (
            isinstance(outcome, asyncio.CancelledError) and number in cancelled
        )
    assert entered == sorted(entered)  # in the order in which they asked
    assert slots._containers == {}
