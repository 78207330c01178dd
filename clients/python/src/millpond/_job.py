"""A handle on a job."""

from __future__ import annotations

import asyncio
import html
import time
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

from . import types as t

if TYPE_CHECKING:
    from ._client import AsyncPond, Pond

OVER = frozenset(("succeeded", "failed", "stopped", "cancelled"))
"""States that a job does not leave by itself."""
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 2.0


def _table(summary: t.JobSummary | None, id: int) -> str:
    """The job as a table, for notebooks. Names are text of others."""
    if summary is None:
        return f"<code>job {id}</code>"
    cells = {
        "job": id, "name": summary["name"], "state": summary["state"], "why": summary.get("reason", ""),
        "queue": summary["queue"], "user": summary["user"], "nodes": ", ".join(summary.get("nodes", [])),
    }
    head = "".join(f"<th>{name}</th>" for name in cells)
    body = "".join(f"<td>{html.escape(str(value))}</td>" for value in cells.values())
    return f"<table><tr>{head}</tr><tr>{body}</tr></table>"


def _text(summary: t.JobSummary | None, id: int) -> str:
    return f"<Job {id}>" if summary is None else f"<Job {id} {summary['name']!r} {summary['state']}>"


class Job:
    """A job of a pool. What it knows of the job is as new as the last call."""

    def __init__(self, pond: Pond, id: int, summary: t.JobSummary | None = None) -> None:
        self._pond = pond
        self.id = id
        """Its number."""
        self._known = summary

    def refresh(self) -> t.JobDetail:
        """All there is to know of it now."""
        self._known = detail = self._pond.api.jobs_get(self.id)
        return detail

    @property
    def state(self) -> str:
        """Where it stands now."""
        return self.refresh()["state"]

    def wait(self, timeout: float | None = None) -> t.JobDetail:
        """Waits until it is over. Raises TimeoutError after so many seconds."""
        end = None if timeout is None else time.monotonic() + timeout
        pause = _FIRST_PAUSE
        while (detail := self.refresh())["state"] not in OVER:
            if end is not None and time.monotonic() > end:
                raise TimeoutError(f"job {self.id} is {detail['state']}")
            time.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)
        return detail

    def why(self, **query: Any) -> t.WhyView:
        """Why it is where it is, and what would help."""
        return self._pond.api.jobs_why(self.id, **query)

    def logs(self, **query: Any) -> Iterator[t.LogLine]:
        """Its output; `follow=True` stays until it is over, `tail=10`, `rank=0`, `attempt=2`."""
        return self._pond._lines(f"/api/v1/jobs/{self.id}/logs", {"json": True, **query})

    def stop(self, *, now: bool = False) -> t.JobSummary:
        """Ends it: signal, grace, kill; or at once."""
        self._known = summary = self._pond.api.jobs_stop(self.id, {"now": now})
        return summary

    def cost(self) -> t.CostView | None:
        """What it has cost up to now; None while no price was ever set."""
        return self.refresh().get("cost")

    def __repr__(self) -> str:
        return _text(self._known, self.id)

    def _repr_html_(self) -> str:
        self.refresh()
        return _table(self._known, self.id)


class AsyncJob:
    """As [`Job`], for `async`. A notebook shows what was known last: it cannot wait for more."""

    def __init__(self, pond: AsyncPond, id: int, summary: t.JobSummary | None = None) -> None:
        self._pond = pond
        self.id = id
        """Its number."""
        self._known = summary

    async def refresh(self) -> t.JobDetail:
        """All there is to know of it now."""
        self._known = detail = await self._pond.api.jobs_get(self.id)
        return detail

    async def wait(self, timeout: float | None = None) -> t.JobDetail:
        """Waits until it is over. Raises TimeoutError after so many seconds."""
        async with asyncio.timeout(timeout):
            pause = _FIRST_PAUSE
            while (detail := await self.refresh())["state"] not in OVER:
                await asyncio.sleep(pause)
                pause = min(pause * 1.5, _LONGEST_PAUSE)
            return detail

    async def why(self, **query: Any) -> t.WhyView:
        """Why it is where it is, and what would help."""
        return await self._pond.api.jobs_why(self.id, **query)

    def logs(self, **query: Any) -> AsyncIterator[t.LogLine]:
        """Its output; `follow=True` stays until it is over, `tail=10`, `rank=0`, `attempt=2`."""
        return self._pond._lines(f"/api/v1/jobs/{self.id}/logs", {"json": True, **query})

    async def stop(self, *, now: bool = False) -> t.JobSummary:
        """Ends it: signal, grace, kill; or at once."""
        self._known = summary = await self._pond.api.jobs_stop(self.id, {"now": now})
        return summary

    async def cost(self) -> t.CostView | None:
        """What it has cost up to now; None while no price was ever set."""
        return (await self.refresh()).get("cost")

    def __repr__(self) -> str:
        return _text(self._known, self.id)

    def _repr_html_(self) -> str:
        return _table(self._known, self.id)
