"""The audit that ``client.audit()`` returns.

Knows how entries are chosen, and handed on as tables. Never knows notebooks.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from ..address import combine, parse_scope
from ..errors import InvalidRequest
from ..journal import Journal
from ..moments import moment
from . import views
from .gathering import gather
from .question import Question
from .reading import TRANSCRIPT_BYTES, with_transcripts

if TYPE_CHECKING:
    import os
    from collections.abc import Callable
    from datetime import datetime, timedelta

    from ..aws.api import AwsApi
    from ..aws.audit import Source
    from .entries import AuditEntry

__all__ = ["Audit", "audit"]


class Audit(Sequence["AuditEntry"]):
    """Entries, the oldest first; it shows itself as a table.

    Attributes:
        sources: what each source gave, and what is missing and why.
        caption: what it is of.
        cluster: the one that it is of; empty for all.
    """

    def __init__(
        self,
        entries: Sequence[AuditEntry],
        sources: Sequence[Source] = (),
        caption: str = "",
        cluster: str = "",
    ) -> None:
        self._entries = tuple(entries)
        self.sources = tuple(sources)
        self.caption = caption
        self.cluster = cluster

    @overload
    def __getitem__(self, index: int) -> AuditEntry: ...

    @overload
    def __getitem__(self, index: slice) -> Audit: ...

    def __getitem__(self, index: int | slice) -> AuditEntry | Audit:
        if isinstance(index, slice):
            return self._of(self._entries[index])
        return self._entries[index]

    def __len__(self) -> int:
        return len(self._entries)

    def _of(self, entries: Sequence[AuditEntry]) -> Audit:
        return Audit(entries, self.sources, self.caption, self.cluster)

    @property
    def complete(self) -> bool:
        """Whether every source gave all that it was asked for."""
        return all(source.state in ("ok", "off") for source in self.sources)

    def filter(self, keep: Callable[[AuditEntry], bool] | None = None, **values: Any) -> Audit:
        """The entries for which ``keep`` is true, and whose attributes have these values.

        ``audit.filter(lambda entry: entry.denied)``, ``audit.filter(service="web", exit_code=1)``.

        Raises:
            InvalidRequest: entries have no such attribute.
        """
        for name in values:
            if self._entries and not hasattr(self._entries[0], name):
                raise InvalidRequest(f"entries of an audit have no {name!r}")
        return self._of(
            [
                entry
                for entry in self._entries
                if (keep is None or keep(entry))
                and all(getattr(entry, name) == value for name, value in values.items())
            ]
        )

    # -- as data ---------------------------------------------------------------------------------

    def table(self) -> list[dict[str, Any]]:
        """A row for each entry: all that is known, in plain values; times are in UTC."""
        return [entry.row() for entry in self._entries]

    def dataframe(self) -> Any:
        """:meth:`table` as a pandas DataFrame; its times are times.

        Raises:
            InvalidRequest: pandas is not installed.
        """
        try:
            import pandas
        except ImportError:
            raise InvalidRequest(
                "dataframe() needs pandas", cure="pip install pandas, or use table()"
            ) from None
        frame = pandas.DataFrame(self.table())
        for name in ("time", "ended"):
            if name in frame:
                frame[name] = pandas.to_datetime(frame[name], utc=True)
        return frame

    def json(self, indent: int | None = 2) -> str:
        """Entries and sources as JSON."""
        sources = [
            {
                "name": source.name,
                "state": source.state,
                "text": source.text,
                "permission": source.permission,
            }
            for source in self.sources
        ]
        whole = {"entries": self.table(), "sources": sources}
        return json.dumps(whole, indent=indent, ensure_ascii=False)

    # -- to look at ------------------------------------------------------------------------------

    def __repr__(self) -> str:
        return views.text_of(self._entries, self.sources, self._caption(), self.cluster)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        markup = views.html_of(self._entries, self.sources, self._caption(), self.cluster)
        return {"text/plain": repr(self), "text/html": markup}

    def _caption(self) -> str:
        refused = sum(bool(entry.error) for entry in self._entries)
        count = len(self._entries) - refused
        told = f"{count or 'no'} session{'s' * (count != 1)}"
        if refused:
            told += f" and {refused} refused call{'s' * (refused != 1)}"
        return f"{told} in {self.caption}"


async def audit(
    api: AwsApi,
    target: str | None = None,
    *,
    since: str | timedelta | datetime = "2h",
    until: str | timedelta | datetime | None = None,
    who: str | None = None,
    limit: int | None = None,
    transcripts: bool = False,
    max_bytes: int = TRANSCRIPT_BYTES,
    journal: str | os.PathLike[str] | Journal | None = None,
    mask: bool = True,
    **words: str | None,
) -> Audit:
    """See :meth:`ecs_exec_magic.client.Client.audit`."""
    begin = moment(since)
    end = None if until is None else moment(until, "until")
    if end is not None and end <= begin:
        raise InvalidRequest("until is before since", cure="nothing happens between the two")
    if limit is not None and limit < 1:
        raise InvalidRequest(f"limit={limit} is not a number of entries")
    scope = None
    if target is not None or any(words.values()):
        base = None if target is None else parse_scope(target)
        scope = combine(base, **words, nameless=True)
        if scope.region and scope.region != api.region:
            raise InvalidRequest(
                f"{target} is in {scope.region}, and the client is in {api.region}",
                cause="an audit is of one region, and so are CloudTrail's events",
                cure=f"use region={scope.region!r}",
            )
        if scope.cluster is None and scope.name is not None:
            scope = replace(scope, cluster=api.cluster)
    question = Question(scope, begin, end, who or "", limit, mask)
    records = None
    if journal is not None:
        if not isinstance(journal, Journal):
            journal = Journal(Path(journal))
        records = journal.read()
    entries, sources = await gather(api, question, records)
    if transcripts:
        entries = await with_transcripts(api, entries, max_bytes, mask)
    cluster = (scope.cluster if scope is not None else None) or ""
    return Audit(entries, sources, _caption(question, api.region), cluster)


def _caption(question: Question, region: str) -> str:
    where = "every cluster" if question.scope is None else str(question.scope)
    since = question.since.astimezone()
    now = question.at.astimezone()
    form = "%H:%M" if since.date() == now.date() else "%Y-%m-%d %H:%M"
    until = f" to {question.until.astimezone():%Y-%m-%d %H:%M}" if question.until else ""
    by = f" by {question.who}" if question.who else ""
    return f"{where} ({region}){by} since {since:{form}}{until} {now.tzname() or ''}".rstrip()
