"""Session logs in S3: an object for each session, named after it.

Knows buckets and keys. Never knows what the text means.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from ...errors import AccessDenied, EcsExecError
from .sources import SESSION_NAME, Part, SessionLog, refused

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..api import AwsApi

__all__ = ["objects_in", "read_object"]

_PAGES = 20  # of 1000 keys, which come by name and not by time
_ASKED_ONE_BY_ONE = 200
_AT_ONCE = 4
_SUFFIX = ".log"
_ABSENT = {"404", "NoSuchKey", "NotFound"}


async def objects_in(
    api: AwsApi, bucket: str, prefix: str, cluster: str, since: datetime, known: Iterable[str]
) -> Part[list[SessionLog]]:
    """The logs of sessions in a bucket; arguments as for streams."""
    found: dict[str, SessionLog] = {}
    head = f"{prefix}/" if prefix else ""
    name = f"bucket {bucket}"
    wanted = list(known)
    try:
        complete = await _listed(api, bucket, head, cluster, since, set(wanted), found)
        source = None
    except EcsExecError as error:
        complete = False
        if error.code in ("NoSuchBucket", "404"):
            error = EcsExecError("there is no such bucket")
        lost = "session logs without an event are not looked for there"
        source = refused(name, error, "s3:ListBucket", lost=lost, partly=True)
        if not isinstance(error, AccessDenied):
            return Part([], (source,))
    if complete:
        return Part(list(found.values()))
    unknown = 0
    gate = asyncio.Semaphore(_AT_ONCE)

    async def ask(session_id: str) -> None:
        nonlocal unknown
        key = f"{head}{session_id}{_SUFFIX}"
        try:
            async with gate:
                answer = await api.call("s3", "head_object", Bucket=bucket, Key=key)
        except EcsExecError as error:
            # Without s3:ListBucket, S3 does not tell what is missing from what may not be read.
            unknown += error.code not in _ABSENT
            return
        found[session_id] = SessionLog(
            session_id,
            "s3",
            bucket,
            key,
            _utc(answer.get("LastModified")),
            int(answer.get("ContentLength") or 0),
            cluster,
        )

    await asyncio.gather(
        *map(ask, [each for each in wanted if each not in found][:_ASKED_ONE_BY_ONE])
    )
    return Part(list(found.values()), (source,) if source is not None else ())


async def _listed(
    api: AwsApi,
    bucket: str,
    head: str,
    cluster: str,
    since: datetime,
    known: set[str],
    found: dict[str, SessionLog],
) -> bool:
    """Look through the bucket; returns whether that was all of it."""
    more: dict[str, Any] = {}
    for _ in range(_PAGES):
        answer = await api.call(
            "s3",
            "list_objects_v2",
            _about=f"s3://{bucket}/{head}",
            Bucket=bucket,
            Prefix=f"{head}ecs-execute-command-",
            **more,
        )
        for each in answer.get("Contents") or ():
            key = str(each.get("Key", ""))
            session_id = key[len(head) :].removesuffix(_SUFFIX)
            written = _utc(each.get("LastModified"))
            if not SESSION_NAME.fullmatch(session_id) or not key.endswith(_SUFFIX):
                continue
            if session_id in known or (written is not None and written >= since):
                size = int(each.get("Size") or 0)
                found[session_id] = SessionLog(
                    session_id, "s3", bucket, key, written, size, cluster
                )
        if not answer.get("IsTruncated"):
            return True
        more = {"ContinuationToken": answer["NextContinuationToken"]}
    return False


def _utc(moment: Any) -> datetime | None:
    if not isinstance(moment, datetime):
        return None
    if moment.tzinfo is None:
        return moment.replace(tzinfo=timezone.utc)
    return moment.astimezone(timezone.utc)


async def read_object(api: AwsApi, log: SessionLog, at_most: int) -> tuple[bytes, bool]:
    """A log's beginning, and whether there is more.

    Raises:
        EcsExecError: it cannot be read, as with a key that the caller may not use.
    """

    def work() -> bytes:
        client = api.client("s3")
        asked = {"Bucket": log.place, "Key": log.name}
        # Nothing is asked for by range of an empty object: S3 refuses that.
        ranged = {"Range": f"bytes=0-{at_most}"} if log.size else {}
        with client.get_object(**asked, **ranged)["Body"] as body:
            data: bytes = body.read(at_most + 1)
        return data

    data = await api.in_thread(work, operation="s3:GetObject", about=log.where)
    return data[:at_most], len(data) > at_most
