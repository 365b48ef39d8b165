"""Exec for a service that is there already: shown first, done, and undone.

Knows how to say in blocking calls what :mod:`.aws.enabling` does. Never knows notebooks.

::

    plan = ecs.connect().enable_exec("prod/web", logging="override", log_group="/exec/prod")
    plan.show()
    plan.apply()
    ...
    plan.undo()
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .address import parse_address
from .aws.enabling import EnableOptions
from .aws.enabling.building import apply, documents_of, looked_at, place_of
from .aws.enabling.undoing import made, undo
from .aws.plan.state import State
from .carrying import Carried
from .errors import InvalidRequest
from .plan_views import PlanView

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping

    from .aws.api import AwsApi
    from .aws.plan import Step, StepEvent
    from .aws.plan.building import Tell
    from .aws.plan.part import Pause
    from .portal import Bridge

__all__ = ["Enabling", "enable_options"]


class Enabling(Carried):
    """Exec for one service; made by ``client.enable_exec(ADDRESS)``, and used as a plan is.

    Attributes:
        options: what was asked for.
        steps: what had to happen, in order, when it was made or last refreshed.
        documents: the policies that are put on roles, by title.
        costs: what of it costs money, a sentence each.
        warnings: what does not stop it and will be missed, a sentence each.
        address: where commands can be run afterwards.
    """

    def __init__(
        self,
        api: AwsApi,
        bridge: Bridge,
        options: EnableOptions,
        state: str | os.PathLike[str] | None = None,
    ) -> None:
        if problems := options.problems():
            name, problem = next(iter(problems.items()))
            raise InvalidRequest(
                f"{name}={getattr(options, name)!r} is not possible",
                cause=problem,
                cure="nothing was called",
            )
        super().__init__(api, bridge, state)
        self.options = options
        if state is not None:
            self._state()  # refuses a file that is not its own
        self.steps: tuple[Step, ...] = ()
        self.documents: Mapping[str, Mapping[str, Any]] = {}
        self.warnings: tuple[str, ...] = ()
        self.address = f"{options.address}:{options.container}".rstrip(":")

    def __repr__(self) -> str:
        return f"<Enabling of {self.options.address!r} on {self._api!r}>"

    # -- what it says ----------------------------------------------------------------------------

    @property
    def costs(self) -> tuple[str, ...]:
        """What of it costs money, a sentence each."""
        if self.options.logging != "override":
            return ()
        return ("Session logs: by the gigabyte that comes in, and that is kept.",)

    def refresh(self) -> Enabling:
        """Look again at what there is; returns the plan.

        Raises:
            ProvisionError: something may not be looked at.
            TargetNotFound: there is no such cluster or service.
            InvalidRequest: it is a task without a service; the error has the line that starts it
                anew.
        """

        async def look() -> None:
            place = await place_of(self._api, self.options)
            self.steps = tuple(await looked_at(place))
            self._told(place)

        self._bridge.call(look())
        return self

    def _told(self, place: Any) -> None:
        self.documents = documents_of(place)
        self.warnings = tuple(place.warnings)
        self.address = place.address

    def show(self) -> PlanView:
        """The plan as something to look at: HTML in a notebook, text elsewhere."""
        counts = dict.fromkeys(("create", "update", "keep", "conflict"), 0)
        for step in self.steps:
            counts[step.action] += 1
        said = ", ".join(f"{count} to {action}" for action, count in counts.items() if count)
        said = said.replace("to conflict", "in conflict")
        caption = f"exec for {self.options.address} in {self._api.region}: {said}"
        return PlanView(caption, self.steps, self.costs, self.documents, self.warnings)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return self.show()._repr_mimebundle_()

    def leftovers(self) -> tuple[Step, ...]:
        """What :meth:`undo` would do now, in its order."""

        async def look() -> tuple[Step, ...]:
            place = await place_of(self._api, self.options)
            return tuple(await made(place, self._state().resources))

        return self._bridge.call(look())

    # -- what it does ----------------------------------------------------------------------------

    def apply(self, progress: Callable[[StepEvent], object] | None = None) -> tuple[Step, ...]:
        """Do what is missing, and wait until commands can be run; it can be repeated at any time.

        Args:
            progress: called in this thread with each event; the next call to AWS waits for it.

        Returns:
            what was done.

        Raises:
            ProvisionError: something is in the way, and nothing was touched; or a step failed, and
                those before it stay.
            Interrupted: by the interrupt key, after the call that was under way.
        """
        state = self._state()

        async def work(pause: Pause, tell: Tell) -> tuple[Step, ...]:
            place = await place_of(self._api, self.options, pause)
            steps = tuple(await apply(place, tell, state.made))
            self._told(place)
            return steps

        return self._follow(work, progress, f"apply of exec for {self.options.address}")

    def undo(
        self,
        progress: Callable[[StepEvent], object] | None = None,
        empty_bucket: bool = False,
    ) -> tuple[Step, ...]:
        """Put back what was before, and remove what was added; a second time there is nothing.

        Args:
            progress: as for :meth:`apply`.
            empty_bucket: as plans have it; nothing here makes a bucket.

        Returns:
            what was done.

        Raises:
            ProvisionError: a step failed; those before it are done.
            Interrupted: by the interrupt key, after the call that was under way.
        """
        state = self._state()

        async def work(pause: Pause, tell: Tell) -> tuple[Step, ...]:
            place = await place_of(self._api, self.options, pause)
            return tuple(await undo(place, tell, state.resources))

        done = self._follow(work, progress, f"undo of exec for {self.options.address}")
        state.end()
        return done

    destroy = undo

    def _state(self) -> State:
        return State(self._state_path, self.options.address, self._api.region)


def enable_options(api: AwsApi, address: str, given: Mapping[str, Any]) -> EnableOptions:
    """Options from an address and keyword arguments.

    Raises:
        InvalidRequest: the address is none, or there is no such option.
    """
    from dataclasses import fields

    known = {each.name for each in fields(EnableOptions)} - {"cluster", "service", "container"}
    if unknown := sorted(set(given) - known):
        raise InvalidRequest(
            f"enabling exec has no option {unknown[0]}",
            cure=f"there are {', '.join(sorted(known))}",
        )
    query = parse_address(address)
    if query.region and query.region != api.region:
        raise InvalidRequest(
            f"{address!r} is in {query.region}, but the region in use is {api.region}",
            cure=f"give --region {query.region} (region={query.region!r})",
        )
    container = "" if query.container in (None, "*") else str(query.container)
    cluster = query.cluster or api.cluster
    return EnableOptions(cluster, query.name or "", container, **given)
