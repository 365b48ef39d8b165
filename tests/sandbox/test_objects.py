"""Objects of S3 on the practice cluster."""

from __future__ import annotations

import gc
import sys
from typing import Any

import boto3
import pytest

from ecs_exec_magic import sandbox


def test_deleted_objects_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    complaints: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", complaints.append)
    with sandbox.start(pace="fast", runtime="process", seed=False) as running:
        s3 = boto3.Session(
            running.environment["AWS_ACCESS_KEY_ID"], "x", region_name="us-east-1"
        ).client("s3", endpoint_url=running.url)
        s3.create_bucket(Bucket="closed-again")
        for number in range(3):
            s3.put_object(Bucket="closed-again", Key=f"k{number}", Body=b"x")
        s3.delete_object(Bucket="closed-again", Key="k0")
        objects = [{"Key": "k1", "VersionId": "null"}, {"Key": "k2"}]
        s3.delete_objects(Bucket="closed-again", Delete={"Objects": objects})
        gc.collect()
        s3.delete_bucket(Bucket="closed-again")
    gc.collect()
    assert complaints == []
