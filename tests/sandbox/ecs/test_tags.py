"""Tags of every kind of resource, and account settings."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import Ecs

PARAMETER = "InvalidParameterException"


def resource(ecs: Ecs, kind: str) -> str:
    cluster, definition = ecs.cluster(), ecs.register()
    arn: str
    if kind == "cluster":
        arn = f"arn:aws:ecs:us-east-1:{ecs.account}:cluster/{cluster}"
    elif kind == "task-definition":
        arn = definition
    elif kind == "task":
        arn = ecs.run(cluster, definition)[0]["taskArn"]
    elif kind == "service":
        arn = ecs.client.create_service(
            cluster=cluster,
            serviceName="s",
            taskDefinition=definition,
            launchType="FARGATE",
            networkConfiguration=ecs.vpc(),
            desiredCount=0,
        )["service"]["serviceArn"]
    else:
        answer = ecs.client.register_container_instance(cluster=cluster)
        arn = answer["containerInstance"]["containerInstanceArn"]
    return arn


def tags(ecs: Ecs, arn: str) -> dict[str, str]:
    found = ecs.client.list_tags_for_resource(resourceArn=arn)["tags"]
    return {t["key"]: t["value"] for t in found}


@pytest.mark.parametrize(
    "kind", ["cluster", "task-definition", "task", "service", "container-instance"]
)
def test_every_kind(ecs: Ecs, kind: str) -> None:
    arn = resource(ecs, kind)
    assert f":{kind}/" in arn and tags(ecs, arn) == {}
    given: list[dict[str, str]] = [{"key": "a", "value": "1"}, {"key": "b", "value": ""}]
    ecs.client.tag_resource(resourceArn=arn, tags=given)
    ecs.client.tag_resource(resourceArn=arn, tags=[{"key": "a", "value": "2"}])
    assert tags(ecs, arn) == {"a": "2", "b": ""}
    assert ecs.sandbox.call(ecs.world.state.tags_of(arn)) == {"a": "2", "b": ""}
    ecs.client.untag_resource(resourceArn=arn, tagKeys=["a", "never"])
    assert tags(ecs, arn) == {"b": ""}


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ([{"key": "aws:x", "value": "1"}], "aws:"),
        ([{"key": "AWS:x", "value": "1"}], "aws:"),
        ([{"key": str(n), "value": ""} for n in range(51)], "50"),
        ([{"key": "x", "value": "y" * 257}], "value"),
        ([{"key": "x" * 129, "value": ""}], "key"),
        ([{"key": "a", "value": "1"}, {"key": "a", "value": "2"}], "unique"),
        ([{"key": "a{b}", "value": ""}], "key"),
    ],
)
def test_bad_tags(ecs: Ecs, given: list[dict[str, str]], text: str) -> None:
    arn = resource(ecs, "cluster")
    tag = ecs.loose.tag_resource
    with pytest.raises(Exception) as caught:
        tag(resourceArn=arn, tags=given)
    answer: dict[str, Any] = getattr(caught.value, "response", {})
    assert answer["Error"]["Code"] == PARAMETER
    assert tags(ecs, arn) == {}


def test_the_limit_counts_those_that_are_there(ecs: Ecs) -> None:
    arn = resource(ecs, "cluster")
    many = [{"key": str(n), "value": ""} for n in range(50)]
    ecs.client.tag_resource(resourceArn=arn, tags=many)
    tag = ecs.client.tag_resource
    ecs.fails(PARAMETER, "50", tag, resourceArn=arn, tags=[{"key": "more", "value": ""}])
    tag(resourceArn=arn, tags=[{"key": "1", "value": "changed"}])
    assert tags(ecs, arn)["1"] == "changed"


def test_unknown_resources(ecs: Ecs) -> None:
    show = ecs.client.list_tags_for_resource
    begin = f"arn:aws:ecs:us-east-1:{ecs.account}:"
    ecs.fails("ClusterNotFoundException", "", show, resourceArn=f"{begin}cluster/no")
    ecs.fails("ResourceNotFoundException", "task", show, resourceArn=f"{begin}task/demo/no")
    ecs.fails(PARAMETER, "ARN", show, resourceArn="no-arn")
    other = "arn:aws:ecs:us-east-1:999999999999:cluster/demo"
    ecs.fails("ClusterNotFoundException", "", show, resourceArn=other)
    arn = resource(ecs, "task")
    cluster = arn.split("/")[1]
    ecs.client.stop_task(cluster=cluster, task=arn)
    ecs.stopped(cluster, arn)
    ecs.fails(PARAMETER, "stopped", ecs.client.tag_resource, resourceArn=arn, tags=[])


def test_account_settings(ecs: Ecs) -> None:
    show = ecs.client.list_account_settings
    assert show()["settings"] == []
    effective = {s["name"]: s["value"] for s in show(effectiveSettings=True)["settings"]}
    assert effective["taskLongArnFormat"] == "enabled"
    ecs.client.put_account_setting_default(name="containerInsights", value="enabled")
    made = ecs.client.put_account_setting(name="awsvpcTrunking", value="enabled")["setting"]
    assert made["value"] == "enabled" and made["principalArn"].endswith("user/sandbox")
    assert [s["name"] for s in show()["settings"]] == ["awsvpcTrunking"]
    now = {s["name"]: s["value"] for s in show(effectiveSettings=True)["settings"]}
    assert (now["containerInsights"], now["awsvpcTrunking"]) == ("enabled", "enabled")
    only = show(effectiveSettings=True, name="containerInsights")["settings"]
    assert [s["value"] for s in only] == ["enabled"]
    ecs.client.delete_account_setting(name="awsvpcTrunking")
    assert show()["settings"] == []
    put = ecs.client.put_account_setting
    ecs.fails(PARAMETER, "value", put, name="awsvpcTrunking", value="perhaps")
