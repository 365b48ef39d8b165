"""A process whose children carry out plans, and die behind a call that changes something.

Run as a program: ``URL REGION NAME``, with lines of JSON on standard input: a verb, a number and
options; a name with a slash is a service that exec is switched on for. The child that does this is
killed when as many changing calls have been answered, before anybody hears of the answer. A line
tells how it ended: ``killed`` or ``done``.

Forks of a process that has loaded everything are many times faster than new processes.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from typing import Any

import boto3

import ecs_exec_magic as ecs
from ecs_exec_magic.client import Client

_READING = ("describe", "get", "head", "list")


def carry_out(client: Client, name: str, verb: str, cut: int, options: dict[str, Any]) -> None:
    left, lock = cut, threading.Lock()

    def answered(model: Any, **_: Any) -> None:
        nonlocal left
        if model.name.lower().startswith(_READING):
            return
        with lock:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    for service in client._api._clients.values():
        service.meta.events.register("after-call", answered)
    make = client.enable_exec if "/" in name else client.plan
    plan: Any = make(name, look=False, **options)
    if verb == "apply":
        plan.apply()
    else:
        plan.destroy(empty_bucket=True)


def main() -> None:
    url, region, name = sys.argv[1:]
    session = boto3.Session("AKIASANDBOX000000001", "sandbox", region_name=region)
    client = ecs.connect(session=session, endpoint_url=url)
    for service in ("ec2", "ecs", "iam", "kms", "logs", "s3", "sts"):
        client._api.client(service)
    for line in sys.stdin:
        verb, cut, options = json.loads(line)
        child = os.fork()  # no thread has been started here
        if not child:
            status = 1
            try:
                carry_out(client, name, verb, cut, options)
                status = 0
            finally:
                os._exit(status)
        _, status = os.waitpid(child, 0)
        ended = {0: "done", signal.SIGKILL: "killed"}.get(status, f"failed: {status}")
        print(ended, flush=True)


if __name__ == "__main__":
    main()
