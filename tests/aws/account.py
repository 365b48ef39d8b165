"""The account of a practice cluster, as its administrator and others see it."""

from __future__ import annotations

from typing import Any

import boto3

import ecs_exec_magic as ecs
from ecs_exec_magic.client import Client
from ecs_exec_magic.sandbox import Sandbox


class Account:
    """A practice cluster's administrator, the clients that are made of it, and what they open."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        environment = sandbox.environment
        self.region = environment["AWS_REGION"]
        self.session = self._session(
            environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"]
        )
        self._aws: dict[str, Any] = {}
        self._clients: list[Client] = []

    def _session(self, key: str, secret: str) -> boto3.Session:
        return boto3.Session(key, secret, region_name=self.region)

    def aws(self, name: str) -> Any:
        """boto3's own client of a service."""
        if name not in self._aws:
            self._aws[name] = self.session.client(name, endpoint_url=self.sandbox.url)
        return self._aws[name]

    def client(self, session: boto3.Session | None = None) -> Client:
        """A client of the administrator's, or of somebody else's; closed by :meth:`leave`."""
        client = ecs.connect(session=session or self.session, endpoint_url=self.sandbox.url)
        self._clients.append(client)
        return client

    def leave(self) -> None:
        """Close the connections of the clients that were made, ten of each, and forget them."""
        for client in self._clients:
            client.close()
        self._clients.clear()

    def close(self) -> None:
        """Close everything, and end the practice cluster."""
        self.leave()
        for api in self._aws.values():
            api.close()
        self.sandbox.stop()
