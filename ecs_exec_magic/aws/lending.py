"""What another process needs to call AWS as this one does.

Knows keys, how they travel and are renewed. Never knows where they go, nor what they are used for.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import boto3
import botocore.session
from botocore.credentials import Credentials, ReadOnlyCredentials
from botocore.exceptions import NoCredentialsError

from .api import AwsApi

if TYPE_CHECKING:
    from typing import Any

__all__ = ["Borrowed", "Keys", "Lent", "keys_of", "lent_by"]


@dataclass(frozen=True, repr=False)
class Keys:
    """Credentials as they are at one moment; never shown."""

    access_key: str
    secret_key: str
    token: str | None = None

    def __repr__(self) -> str:
        return "<Keys>"


@dataclass(frozen=True)
class Lent:
    """A way to AWS as plain data.

    Attributes:
        region: of every call.
        endpoint_url: serves every service; None: AWS itself.
        keys: None: the credentials of the process where it is used.
    """

    region: str
    endpoint_url: str | None
    keys: Keys | None = None


async def keys_of(api: AwsApi) -> Keys:
    """The credentials that calls are signed with now, renewed when they are about to expire.

    Raises:
        CredentialsError: there are none, or they cannot be renewed.
    """

    def look() -> Keys:
        found = api.session.get_credentials()
        if found is None:
            raise NoCredentialsError
        frozen = found.get_frozen_credentials()
        return Keys(frozen.access_key, frozen.secret_key, frozen.token)

    return await api.in_thread(look)


async def lent_by(api: AwsApi, *, own: bool = False) -> Lent:
    """What another process needs to call AWS as this one does.

    Args:
        own: it has credentials of its own, and gets none.

    Raises:
        CredentialsError: there are none to give.
        InvalidRequest: no region is known.
    """
    lent = Lent(api.region, api.endpoint_url or os.environ.get("AWS_ENDPOINT_URL") or None)
    return lent if own else replace(lent, keys=await keys_of(api))


class _Sent(Credentials):  # type: ignore[misc]  # botocore gives no types
    """Credentials that are replaced as a whole, while others sign with them."""

    def __init__(self, keys: Keys) -> None:
        super().__init__(keys.access_key, keys.secret_key, keys.token)
        self.put(keys)

    def put(self, keys: Keys) -> None:
        self._frozen = ReadOnlyCredentials(keys.access_key, keys.secret_key, keys.token)

    def get_frozen_credentials(self) -> Any:
        return self._frozen


class Borrowed:
    """A way to AWS that another process has lent; making it may take a second.

    Attributes:
        api: how AWS is called.
    """

    def __init__(self, lent: Lent) -> None:
        self._sent = _Sent(lent.keys) if lent.keys is not None else None
        core = botocore.session.Session()
        if self._sent is not None:
            core._credentials = self._sent
        session = boto3.Session(botocore_session=core, region_name=lent.region)
        self.api = AwsApi(session, region=lent.region, endpoint_url=lent.endpoint_url)

    def renew(self, keys: Keys) -> None:
        """Sign with these from now on."""
        if self._sent is not None:
            self._sent.put(keys)
