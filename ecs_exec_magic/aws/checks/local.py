"""Whether the AWS library of this machine knows what is called.

Knows versions and operations of botocore. Never knows an account.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .registry import check, fail, ok

if TYPE_CHECKING:
    from ...findings import Finding
    from .scene import Scene

__all__ = ["versions"]

_NEEDED = (
    ("ecs", "ExecuteCommand"),
    ("ssm", "ResumeSession"),
    ("ssm", "TerminateSession"),
    ("ssm", "StartSession"),
    ("kms", "GenerateDataKey"),
)


def versions() -> str:
    """Of the libraries, as text."""
    import boto3
    import botocore

    return f"boto3 {boto3.__version__}, botocore {botocore.__version__}"


@check("local.boto3", "whether boto3 knows ECS Exec")
async def boto3_(scene: Scene) -> Finding:
    def lacking() -> list[str]:
        return [
            f"{service}:{operation}"
            for service, operation in _NEEDED
            if operation not in scene.api.client(service).meta.service_model.operation_names
        ]

    missing = await scene.api.in_thread(lacking)
    if missing:
        return fail(
            f"this boto3 is too old: it does not know {', '.join(missing)}",
            versions(),
            "install a newer one",
            "pip install --upgrade boto3",
        )
    return ok(
        "boto3 knows ECS Exec; no AWS CLI and no session-manager-plugin is needed", versions()
    )
