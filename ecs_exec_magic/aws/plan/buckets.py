"""Buckets that go: which are ours, and emptying them.

Knows S3. Never knows what else goes.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ...errors import AccessDenied, EcsExecError, ProvisionError
from .storage import bucket_region, bucket_tags, is_filled

if TYPE_CHECKING:
    from .part import Say, Site

__all__ = ["delete_bucket", "own_buckets"]


async def own_buckets(site: Site, names: set[str], intended: str) -> list[str]:
    """Names of our buckets in this region.

    Args:
        names: of buckets that something of ours names; all others are looked at too, where the
            account's buckets may be listed.
        intended: the bucket that was being made when the plan was stopped, which may have no tags.
            Such a one is empty: with objects it is somebody else's.
    """
    api = site.api
    try:
        listed = await api.call("s3", "list_buckets")
        every = {each["Name"] for each in listed.get("Buckets", ())}
    except AccessDenied:
        every = (names | {intended}) - {""}

    async def is_ours(name: str) -> bool:
        try:
            tags = await bucket_tags(api, name)
            if not site.owns(tags) and (tags or intended != name or await is_filled(api, name)):
                return False
            # The plan of that name in another region has its own.
            return await bucket_region(api, name) in ("", site.names.region)
        except EcsExecError as error:
            # Not ours to read, so not ours; or gone, or in a region that is switched off.
            if name in names and error.code not in ("NoSuchBucket", "404"):
                raise
            return False

    ordered = sorted(every)
    ours = await asyncio.gather(*map(is_ours, ordered))
    return [name for name, own in zip(ordered, ours, strict=True) if own]


async def delete_bucket(site: Site, name: str, say: Say, *, empty: bool) -> None:
    """Delete a bucket.

    Args:
        empty: with all objects in all their versions; else S3 refuses one that has any. Objects of
            a bucket without our tag stay in any case: whoever put them there may be its owner.
    """
    if empty and site.owns(await bucket_tags(site.api, name)):
        await _empty(site, name, say)
    await site.api.call("s3", "delete_bucket", Bucket=name)


async def _empty(site: Site, name: str, say: Say) -> None:
    api, count = site.api, 0
    while True:
        site.pause.check()
        page = await api.call("s3", "list_object_versions", Bucket=name)
        versions = [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
        if not versions:
            return
        objects = [{"Key": each["Key"], "VersionId": each["VersionId"]} for each in versions]
        answer = await api.call(
            "s3", "delete_objects", Bucket=name, Delete={"Objects": objects, "Quiet": True}
        )
        if failures := answer.get("Errors"):
            raise ProvisionError(
                f"{len(failures)} objects of {name} could not be deleted",
                cause=f"AWS says: {failures[0].get('Code', '')} {failures[0].get('Message', '')}",
                cure="allow s3:DeleteObject and s3:DeleteObjectVersion; then destroy again",
            )
        count += len(objects)
        await say(f"{count} objects deleted")
