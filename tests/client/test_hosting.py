"""Jobs that another process asks for: begun once, told of until they are heard, ended with it."""

from __future__ import annotations

import pickle
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ecs_exec_magic as ecs
from ecs_exec_magic import hosting
from ecs_exec_magic.aws.lending import Borrowed, Keys, Lent, keys_of, lent_by
from ecs_exec_magic.client import Client, Target
from ecs_exec_magic.hosting import Message, News, Parcel
from ecs_exec_magic.runner import Request
from ecs_exec_magic.sandbox import Sandbox

from .conftest import wait_until

SLOW = 50.0


@pytest.fixture
def party() -> str:
    return uuid.uuid4().hex


async def opened(client: Client, party: str, request: Request) -> None:
    lent = await lent_by(client._api)
    # As it comes out at the other end of a wire.
    parcel = pickle.loads(pickle.dumps(Parcel(party, lent, request, 10)))
    welcome = await hosting.open_party(parcel)
    assert welcome == hosting.Welcome.here()
    assert welcome.version == ecs.__version__


async def heard(party: str, after: int = 0) -> AsyncIterator[News]:
    """News, each acknowledged once it was heard."""
    while (news := await hosting.ask(party, after, 5.0)) is not None:
        for each in news:
            after = each.number
            yield each


async def until_settled(party: str, after: int = 0) -> list[News]:
    found: list[News] = []
    async for each in heard(party, after):
        found.append(each)
        if each.kind == "settled":
            break
    return found


async def test_a_job_is_begun_once_however_often_it_is_told(
    client: Client, target: Target, party: str
) -> None:
    path = f"/tmp/hosted-{party}"
    await opened(client, party, Request(f"echo x >> {path}; wc -l < {path}"))
    begin = Message(1, "begin", ("one", target.ref))
    assert await hosting.tell(party, [begin])
    assert await hosting.tell(party, [begin, begin])
    news = await until_settled(party)
    assert [each.kind for each in news] == ["session", "outcome", "settled"]
    result = pickle.loads(news[1].what)
    assert (result.stdout, result.exact) == ("1\n", True)
    assert result.session_id == news[0].what
    await hosting.tell(party, [Message(2, "begin", ("two", target.ref))])
    news = await until_settled(party, after=3)
    assert pickle.loads(news[1].what).stdout == "2\n"
    assert await hosting.tell(party, [Message(3, "close")])
    assert not await hosting.tell(party, [Message(4, "begin", ("three", target.ref))])
    assert await hosting.ask(party, 0, 5.0) is None


async def test_news_are_told_until_they_are_heard(
    client: Client, target: Target, party: str
) -> None:
    await opened(client, party, Request("true"))
    await hosting.tell(party, [Message(1, "begin", ("one", target.ref))])
    await until_settled(party)
    last = await hosting.ask(party, 2, 5.0)
    assert last is not None
    again = await hosting.ask(party, 2, 5.0)
    assert again is not None
    assert [each.number for each in last] == [each.number for each in again] == [3]
    assert await hosting.ask(party, 3, 0.01) == []
    await hosting.tell(party, [Message(2, "close")])


async def test_an_interrupt_behind_the_beginning(
    client: Client, cluster: Sandbox, target: Target, party: str
) -> None:
    """Told in one breath, it ends a command that has not begun."""
    await opened(client, party, Request("sleep 300"))
    messages = [Message(1, "begin", ("one", target.ref)), Message(2, "interrupt", ("one",))]
    await hosting.tell(party, messages)
    news = await until_settled(party)
    outcome = pickle.loads(next(each.what for each in news if each.kind == "outcome"))
    assert outcome.exit_code is None
    assert "before the command began" in outcome.missing
    await hosting.tell(party, [Message(3, "close")])


async def test_who_does_not_ask_any_more_is_gone(
    client: Client, cluster: Sandbox, target: Target, party: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosting, "LEASE", 1.0)
    await opened(client, party, Request("sleep 300"))
    await hosting.tell(party, [Message(1, "begin", ("one", target.ref))])
    wait_until(lambda: party not in hosting._parties, SLOW)
    assert cluster.wait_idle(SLOW)
    assert await hosting.ask(party, 0, 1.0) is None


async def test_errors_of_a_job_are_its_outcome(client: Client, party: str) -> None:
    ref = client.targets("demo/no-exec")[0].ref
    await opened(client, party, Request("true"))
    await hosting.tell(party, [Message(1, "begin", ("one", ref))])
    news = await until_settled(party)
    outcome = pickle.loads(next(each.what for each in news if each.kind == "outcome"))
    assert isinstance(outcome, ecs.EcsExecError)
    assert outcome.cure
    await hosting.tell(party, [Message(2, "close")])


def test_what_cannot_travel_still_says_what_it_is() -> None:
    error = ecs.SessionLost("cut", cause="why", cure="do")
    error.result = iter([])
    error.thread = __import__("threading").Lock()  # type: ignore[attr-defined]
    told = pickle.loads(hosting._packed(error))
    assert (str(told), told.cause, told.cure) == ("SessionLost: cut", "why", "do")


# -- what is lent --------------------------------------------------------------------------------

secrets = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGH/+=", min_size=20, max_size=60)


@given(secrets, secrets)
def test_secrets_are_never_shown(secret: str, token: str) -> None:
    keys = Keys("AKIATEST", secret, token)
    lent = Lent("us-east-1", None, keys)
    parcel = Parcel("p", lent, Request(f"echo {secret}", stdin=token), 10)
    for each in (keys, lent, parcel, Message(1, "keys", (keys,)), News(1, "outcome", "t", token)):
        assert secret not in f"{each!r} {each}"
        assert token not in f"{each!r} {each}"


async def test_keys_are_replaced_for_all_that_sign(client: Client, cluster: Sandbox) -> None:
    lent = await lent_by(client._api)
    assert lent.keys == await keys_of(client._api) == Keys("AKIATEST", "secret")
    assert lent.endpoint_url == cluster.url
    borrowed = Borrowed(lent)
    await borrowed.api.call("sts", "get_caller_identity")
    borrowed.renew(Keys("AKIANEW", "other", "token"))
    await borrowed.api.call("sts", "get_caller_identity")
    calls = cluster.counters.calls("GetCallerIdentity")
    assert [each.access_key for each in calls[-2:]] == ["AKIATEST", "AKIANEW"]
    assert (await lent_by(client._api, own=True)).keys is None


async def test_there_are_no_keys_to_lend(monkeypatch: pytest.MonkeyPatch, client: Client) -> None:
    monkeypatch.setattr(client._api.session, "get_credentials", lambda: None)
    with pytest.raises(ecs.CredentialsError):
        await lent_by(client._api)


def test_a_request_travels_without_the_mark_of_its_output() -> None:
    request = Request(["printf", "%s", b"\xff"], b"some", 3.0, "execute-command", 10)
    again: Any = pickle.loads(pickle.dumps(request))
    assert again == request
    assert "wrapped" in vars(request) and "wrapped" not in vars(again)
    assert again.wrapped.api_command


def test_a_process_has_a_name_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    here = hosting.Welcome.here()
    assert here == hosting.Welcome.here()
    monkeypatch.setattr("os.getpid", lambda: -1)
    assert here != hosting.Welcome.here()
