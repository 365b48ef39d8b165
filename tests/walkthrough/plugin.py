"""Stands in for the session-manager-plugin where the stock AWS CLI starts one.

Run as a program. It takes the arguments that the AWS CLI gives the plugin, types what it is given
on standard input, and prints what comes. The official plugin was tried by hand: no registry has it.
"""

from __future__ import annotations

import asyncio
import json
import sys

from ecs_exec_magic.channel.connection import Connection
from ecs_exec_magic.channel.events import Closed, Lost, Output
from ecs_exec_magic.channel.session import SessionGrant


class _Services:
    """What the plugin asks AWS for, on the endpoint that it was given."""

    def __init__(self, session_id: str, region: str, endpoint: str) -> None:
        import boto3

        self._session_id = session_id
        session = boto3.Session(region_name=region)
        self._ssm = session.client("ssm", endpoint_url=endpoint or None)
        self._kms = session.client("kms")

    async def resume(self) -> tuple[str, str]:
        answer = await asyncio.to_thread(self._ssm.resume_session, SessionId=self._session_id)
        return answer["StreamUrl"], answer["TokenValue"]

    async def terminate(self) -> None:
        await asyncio.to_thread(self._ssm.terminate_session, SessionId=self._session_id)

    async def generate_data_key(self, key_id: str, context: dict[str, str]) -> tuple[bytes, bytes]:
        answer = await asyncio.to_thread(
            self._kms.generate_data_key, KeyId=key_id, NumberOfBytes=64, EncryptionContext=context
        )
        return answer["Plaintext"], answer["CiphertextBlob"]

    async def sign(self, url: str) -> dict[str, str]:
        return {}


async def _session(arguments: list[str]) -> int:
    started, region, operation, _profile, parameters, endpoint = arguments
    assert operation == "StartSession"
    session = json.loads(started)
    grant = SessionGrant(
        session["sessionId"],
        session["streamUrl"],
        session["tokenValue"],
        json.loads(parameters)["Target"],
    )
    print(f"\nStarting session with SessionId: {grant.session_id}", flush=True)
    connection = await Connection.open(grant, _Services(grant.session_id, region, endpoint))
    try:
        typed = await asyncio.to_thread(sys.stdin.buffer.read)
        if typed:
            await connection.send(typed)
        while events := await connection.receive():
            for event in events:
                if isinstance(event, Output):
                    sys.stdout.buffer.write(event.data)
                elif isinstance(event, Closed | Lost):
                    print(getattr(event, "output", None) or getattr(event, "reason", ""))
        print(f"\n\nExiting session with sessionId: {grant.session_id}.\n")
        return 0
    finally:
        await connection.aclose()


def main() -> int:
    if len(sys.argv) == 1:
        print("\nThe Session Manager plugin was installed successfully. Use the AWS CLI.\n")
        return 0
    return asyncio.run(_session(sys.argv[1:]))


if __name__ == "__main__":
    sys.exit(main())
