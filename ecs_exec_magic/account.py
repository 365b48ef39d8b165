"""What can be asked of an account and done to it: checks, audits, plans, policies.

Knows how to say in blocking calls what the layers below do. Never knows commands, nor notebooks.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from .audit import Audit, audit
from .aws.plan.choices import account_choices
from .aws.policies import Kind, draft, questions, subject_of
from .aws.simulation import principal_named, simulate
from .check import check
from .enabling import Enabling, enable_options
from .plan import Plan, options_of
from .policies import PolicyDocument, Simulation

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Coroutine, Mapping
    from datetime import datetime, timedelta

    from .aws.api import AwsApi
    from .aws.enabling.options import Logging
    from .aws.plan.options import AccountChoices
    from .findings import Findings
    from .journal import Journal
    from .portal import Bridge

__all__ = ["Account", "in_words"]

T = TypeVar("T")


class Account:
    """One region of one AWS account; :class:`~ecs_exec_magic.client.Client` adds its containers."""

    _api: AwsApi
    _bridge: Bridge

    def check(
        self,
        address: str | None = None,
        *,
        cluster: str | None = None,
        service: str | None = None,
        task: str | None = None,
        family: str | None = None,
        container: str | None = None,
        inside: bool = True,
        agent_log: bool = False,
        progress: Callable[[str, int, int], object] | None = None,
    ) -> Findings:
        """Look at everything that commands need: permissions, settings, network, agents, images.

        What does not run, or has exec off, is looked at as well. It changes nothing. A permission
        that is missing makes one finding unknown.

        Args:
            address: a service, task, family, or the cluster; None: the client's cluster.
            inside: look for programs by a command in a container of each kind; it is a session,
                and logged as all of them are.
            agent_log: also fetch what the exec agent has logged, by a command in a container.
            progress: called in this thread with the id of each check that is done, how many are
                done, and of how many.

        Raises:
            TargetNotFound: there is no such cluster or name; the error lists what there is.
            CredentialsError: nothing can be looked up.
        """
        return check(
            self._api,
            self._bridge,
            address,
            in_words(cluster, service, task, family, container),
            inside=inside,
            log=agent_log,
            progress=progress,
        )

    # -- what was run ----------------------------------------------------------------------------

    def audit(
        self,
        target: str | None = None,
        *,
        since: str | timedelta | datetime = "2h",
        until: str | timedelta | datetime | None = None,
        who: str | None = None,
        limit: int | None = None,
        transcripts: bool = False,
        max_bytes: int = 256 * 1024,
        journal: str | os.PathLike[str] | Journal | None = None,
        mask: bool = True,
        cluster: str | None = None,
        service: str | None = None,
        task: str | None = None,
        family: str | None = None,
        container: str | None = None,
    ) -> Audit:
        """Who ran what, where, when, and from where: every session, and every call refused.

        CloudTrail's events are joined by the session's id with its log in CloudWatch Logs or S3,
        and with the runs that a notebook has recorded. What a source does not give is said in
        :attr:`Audit.sources` and in the notes of the entries; it is no error.

        Args:
            target: ``CLUSTER[/NAME[:CONTAINER]]``, as for :meth:`tasks`; None: all clusters of the
                region. The options say the same in words.
            since: an age, a day or a time, as in ``2h``; CloudTrail goes back 90 days.
            until: the same; None for now.
            who: only by this user: name, ARN, role, name of a role's session, or a pattern with
                ``*``.
            limit: only the newest so many.
            transcripts: read what the sessions showed, too.
            max_bytes: so much of each.
            journal: of a notebook, or its directory, which mostly is ``.ecs-exec``.
            mask: mask what looks like a secret in commands, errors and transcripts.

        Raises:
            InvalidRequest: what is asked is malformed or contradicts itself; nothing was called.
        """
        return self._call(
            audit(
                self._api,
                target,
                since=since,
                until=until,
                who=who,
                limit=limit,
                transcripts=transcripts,
                max_bytes=max_bytes,
                journal=journal,
                mask=mask,
                **in_words(cluster, service, task, family, container),
            )
        )

    # -- making and removing ---------------------------------------------------------------------

    def plan(
        self,
        name: str,
        *,
        state: str | os.PathLike[str] | None = None,
        look: bool = True,
        **options: Any,
    ) -> Plan:
        """Describe all that exec needs: cluster, roles, network, logs, and tasks with exec on.

        It only looks: ``plan.apply()`` makes what is missing, and ``plan.destroy()`` removes what
        the plan has made.

        Args:
            name: of cluster, task family and service.
            state: a file that remembers what was made; the tags of things decide in any case.
            look: False calls nothing and leaves the plan without steps, as ``destroy`` needs none.
            options: those of :class:`PlanOptions`.

        Raises:
            InvalidRequest: AWS would not take an option; it is named, and nothing was called.
            ProvisionError: something may not be looked at.
        """
        plan = Plan(self._api, self._bridge, options_of(name, options), state)
        return plan.refresh() if look else plan

    def enable_exec(
        self,
        address: str,
        *,
        logging: Logging | None = None,
        log_group: str | None = None,
        bucket: str | None = None,
        prefix: str | None = None,
        encrypt_logs: bool = False,
        kms_key: str | None = None,
        task_role: str | None = None,
        state: str | os.PathLike[str] | None = None,
        look: bool = True,
    ) -> Enabling:
        """Describe what is missing for exec in a service that is there.

        It only looks: ``apply()`` adds the policy that the task role lacks, changes the cluster
        where that is asked for, switches exec on and waits for the agents of new tasks; ``undo()``
        puts back what was before. What is None stays as it is.

        Args:
            address: ``CLUSTER/SERVICE``.
            logging: of the cluster's sessions: ``none``, ``default`` or ``override``.
            log_group, bucket, prefix: of what there is, with ``override``.
            encrypt_logs: the log group and the bucket must be encrypted.
            kms_key: id, ARN or alias of a key that there is, for the data channel; empty: none.
            task_role: a role that there is, for a task definition that names none; None: one is
                made.
            state: a file that remembers what was changed; the tags of things decide in any case.
            look: False calls nothing and leaves it without steps, as ``undo`` needs none.

        Raises:
            InvalidRequest: options do not go together, or a task without a service is meant: exec
                cannot be switched on after its start.
            TargetNotFound: there is no such cluster or service.
            ProvisionError: something may not be looked at.
        """
        given = {
            "logging": logging,
            "log_group": log_group,
            "bucket": bucket,
            "prefix": prefix,
            "encrypt_logs": encrypt_logs,
            "kms_key": kms_key,
            "task_role": task_role,
        }
        options = enable_options(self._api, address, given)
        plan = Enabling(self._api, self._bridge, options, state)
        return plan.refresh() if look else plan

    # -- who may do what -------------------------------------------------------------------------

    def policy(
        self,
        kind: Kind,
        target: str,
        *,
        tags: Mapping[str, str] | None = None,
        container: str | None = None,
    ) -> PolicyDocument:
        """Write the least policy for a cluster as it is set now; puts it nowhere.

        Args:
            kind: ``operator`` for people who run commands, ``task-role`` for the role of tasks,
                ``deny-start-session`` to leave no way around ``ecs:ExecuteCommand``.
            target: ``CLUSTER[/SERVICE[:CONTAINER]]``.
            tags: operators get only into tasks that have all of these.
            container: and only into this one.

        Raises:
            InvalidRequest: there is no such kind, or it takes no tags or container.
            TargetNotFound: there is no such cluster.
        """

        async def written() -> PolicyDocument:
            subject = await subject_of(self._api, target, tags=tags, container=container)
            return PolicyDocument(draft(kind, subject), target)

        return self._call(written())

    def simulate(
        self,
        principal: str,
        target: str,
        *,
        kind: Kind = "operator",
        container: str | None = None,
    ) -> Simulation:
        """Ask IAM what somebody can do there, and why not.

        Args:
            principal: ``me``, ``user/NAME``, ``role/NAME``, ``group/NAME``, a name or an ARN.
            target: ``CLUSTER[/SERVICE[:CONTAINER]]``; with a service that runs its task, its tags
                and its containers are asked for.
            kind: which policy's actions; see :meth:`policy`.

        Raises:
            AccessDenied: the caller may not ask (``iam:SimulatePrincipalPolicy``).
            InvalidRequest: the principal cannot be simulated.
            TargetNotFound: there is no such principal or cluster.
        """

        async def asked() -> Simulation:
            subject, arn = await asyncio.gather(
                subject_of(self._api, target, container=container),
                principal_named(self._api, principal),
            )
            verdicts = await simulate(self._api, arn, questions(kind, subject))
            return Simulation(verdicts, arn, target, kind)

        return self._call(asked())

    def choices(self) -> AccountChoices:
        """What the account has that a plan can use.

        What may not be listed is empty, and :attr:`AccountChoices.denied` says why.
        """
        return self._call(account_choices(self._api))

    def _call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self._bridge.call(coroutine)


def in_words(
    cluster: str | None,
    service: str | None,
    task: str | None,
    family: str | None,
    container: str | None,
) -> dict[str, Any]:
    """The options that say an address in words, as functions take them."""
    return {
        "cluster": cluster,
        "service": service,
        "task": task,
        "family": family,
        "container": container,
    }
