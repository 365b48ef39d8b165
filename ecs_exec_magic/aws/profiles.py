"""boto3 sessions, and what AWS's files on this machine name.

Knows profiles and regions. Never calls AWS.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from .failures import map_error

if TYPE_CHECKING:
    import boto3

__all__ = ["asks_for_codes", "new_session", "profile_names", "region_names"]


def new_session(profile: str | None) -> boto3.Session:
    """A session of a profile; None: as the environment says.

    Raises:
        CredentialsError: there is no such profile.
    """
    import boto3

    try:
        return boto3.Session(profile_name=profile or None)
    except Exception as exc:
        raise map_error(exc, operation="") from exc


def profile_names() -> list[str]:
    """Profiles of the AWS configuration files, in their order."""
    return list(_core().available_profiles)


def region_names() -> list[str]:
    """Regions that have ECS, of all partitions that this botocore knows."""
    core = _core()
    return [
        region
        for partition in core.get_available_partitions()
        for region in core.get_available_regions("ecs", partition)
    ]


def asks_for_codes(session: Any) -> bool:
    """Whether using a session may ask the user for the code of an MFA device."""
    core = session._session
    own = core.instance_variables().get("profile")
    if own is None and os.environ.get("AWS_ACCESS_KEY_ID"):
        return False
    profiles = core.full_config.get("profiles", {})
    name, seen = own or core.get_config_variable("profile") or "default", set()
    while name in profiles and name not in seen:
        seen.add(name)
        if profiles[name].get("mfa_serial"):
            return True
        name = profiles[name].get("source_profile")
    return False


def _core() -> Any:
    import botocore.session

    # With AWS_PROFILE it would refuse everything when that names a profile that is not there.
    return botocore.session.Session(session_vars={"profile": (None, None, None, None)})
