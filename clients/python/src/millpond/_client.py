"""The pool: where it is, what it is asked, what it refuses."""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx

from . import types as t
from ._api import Api, AsyncApi
from ._job import AsyncJob, Job


class Problem(Exception):
    """The pool refuses: what is wrong, where, and what to do."""

    def __init__(self, problem: t.Problem) -> None:
        self.status = problem["status"]
        """The HTTP status."""
        self.code = problem["code"]
        """A word that programs can rely on."""
        self.next = problem.get("next")
        """What to do about it."""
        place = problem.get("where")
        text = problem["message"] + (f" ({place})" if place else "")
        super().__init__(f"{text}; {self.next}" if self.next else text)


def _state_dir() -> pathlib.Path:
    if named := os.environ.get("POND_STATE_DIR"):
        return pathlib.Path(named)
    base = os.environ.get("XDG_STATE_HOME")
    return (pathlib.Path(base) if base else pathlib.Path.home() / ".local/state") / "pond"


def _settings(server: str | None, token: str | None, ca: str | None) -> dict[str, Any]:
    """Settings for httpx: what is given, else the environment, else the pool of this machine."""
    folder = _state_dir()
    server = server or os.environ.get("POND_SERVER")
    token = token or os.environ.get("POND_TOKEN")
    ca = ca or os.environ.get("POND_CA")
    if server is None:
        try:
            server = (folder / "address").read_text().strip()
        except FileNotFoundError:
            raise LookupError(f"no pool: {folder} has no address; start one with `pond up -d` or name it by POND_SERVER") from None
        if token is None:
            token = (folder / "token").read_text().strip()
        if ca is None and (folder / "ca.pem").is_file():
            ca = str(folder / "ca.pem")
    headers = {"user-agent": "millpond-python/0.1.0"}
    if token:
        headers["authorization"] = f"Bearer {token}"
    # A token must not reach a proxy on its way to this machine.
    local = urlsplit(server).hostname in ("127.0.0.1", "localhost", "::1")
    verify: Any = True
    if ca:
        import ssl

        verify = ssl.create_default_context(cafile=ca)
    return {"base_url": server, "headers": headers, "verify": verify, "timeout": 30.0, "trust_env": not local}


def _kept(values: dict[str, Any] | None) -> dict[str, Any]:
    """Parameters that are given, as the API reads them."""
    given = {name: value for name, value in (values or {}).items() if value is not None}
    return {name: str(value).lower() if isinstance(value, bool) else value for name, value in given.items()}


def _refusal(response: httpx.Response) -> Problem:
    try:
        return Problem(response.json())
    except (ValueError, KeyError, TypeError):
        return Problem({"status": response.status_code, "code": "unreadable", "message": response.text[:200]})


def _read(response: httpx.Response) -> Any:
    if response.status_code >= 400:
        raise _refusal(response)
    return response.json() if response.content else None


def _job_file(run: str | list[str] | None, name: str | None, more: dict[str, Any]) -> dict[str, Any]:
    job: dict[str, Any] = {"type": "task", **more}
    if run is not None:
        job["run"] = run
    if name is not None:
        job["name"] = name
    return job


class Pond:
    """A pool. Without arguments: the one named by POND_SERVER and POND_TOKEN, else that of this machine."""

    def __init__(self, server: str | None = None, token: str | None = None, *, ca: str | None = None) -> None:
        self._http = httpx.Client(**_settings(server, token, ca))
        self.api = Api(self._ask)
        """Every operation of the API."""

    def _ask(self, method: str, path: str, *, query: dict[str, Any] | None = None, body: Any = None) -> Any:
        return _read(self._http.request(method, path, params=_kept(query), json=body))

    def _lines(self, path: str, query: dict[str, Any]) -> Iterator[Any]:
        with self._http.stream(
            "GET", path, params=_kept(query), headers={"accept": "application/x-ndjson"}, timeout=None
        ) as response:
            if response.status_code >= 400:
                response.read()
                raise _refusal(response)
            for line in response.iter_lines():
                if line:
                    yield json.loads(line)

    def run(self, run: str | list[str] | None = None, *, name: str | None = None, **job: Any) -> Job:
        """Submits a job: `run` as in the job file, a script or a list of words; more keys of the job file by name."""
        return self.submit(_job_file(run, name, job))

    def submit(self, job: dict[str, Any], *, key: str | None = None) -> Job:
        """Submits a job file. The same `key` with the same job gives the same job, however often it is sent."""
        headers = {"idempotency-key": key} if key else {}
        answer: t.Submitted = _read(self._http.post("/api/v1/jobs", json=job, headers=headers))
        return Job(self, answer["job"]["id"])

    def job(self, id: int) -> Job:
        """A job by its number."""
        return Job(self, id)

    def jobs(self, **query: Any) -> Iterator[Job]:
        """Jobs, newest first; of `state`, `queue`, `user` or `name`."""
        after = None
        while True:
            page: t.JobPage = self._ask("GET", "/api/v1/jobs", query={**query, "after": after})
            for summary in page["jobs"]:
                yield Job(self, summary["id"], summary)
            after = page.get("next")
            if after is None:
                return

    def ledger(self, **query: Any) -> Iterator[t.LedgerLine]:
        """Lines of the ledger of this month, or from `from_ms` to `to_ms`; of `queue`, `user` or `job`."""
        return self._lines("/api/v1/ledger", query)

    def close(self) -> None:
        """Closes connections."""
        self._http.close()

    def __enter__(self) -> Pond:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncPond:
    """As [`Pond`], for `async`."""

    def __init__(self, server: str | None = None, token: str | None = None, *, ca: str | None = None) -> None:
        self._http = httpx.AsyncClient(**_settings(server, token, ca))
        self.api = AsyncApi(self._ask)
        """Every operation of the API."""

    async def _ask(self, method: str, path: str, *, query: dict[str, Any] | None = None, body: Any = None) -> Any:
        return _read(await self._http.request(method, path, params=_kept(query), json=body))

    async def _lines(self, path: str, query: dict[str, Any]) -> AsyncIterator[Any]:
        async with self._http.stream(
            "GET", path, params=_kept(query), headers={"accept": "application/x-ndjson"}, timeout=None
        ) as response:
            if response.status_code >= 400:
                await response.aread()
                raise _refusal(response)
            async for line in response.aiter_lines():
                if line:
                    yield json.loads(line)

    async def run(self, run: str | list[str] | None = None, *, name: str | None = None, **job: Any) -> AsyncJob:
        """Submits a job: `run` as in the job file, a script or a list of words; more keys of the job file by name."""
        return await self.submit(_job_file(run, name, job))

    async def submit(self, job: dict[str, Any], *, key: str | None = None) -> AsyncJob:
        """Submits a job file. The same `key` with the same job gives the same job, however often it is sent."""
        headers = {"idempotency-key": key} if key else {}
        answer: t.Submitted = _read(await self._http.post("/api/v1/jobs", json=job, headers=headers))
        return AsyncJob(self, answer["job"]["id"])

    def job(self, id: int) -> AsyncJob:
        """A job by its number."""
        return AsyncJob(self, id)

    async def jobs(self, **query: Any) -> AsyncIterator[AsyncJob]:
        """Jobs, newest first; of `state`, `queue`, `user` or `name`."""
        after = None
        while True:
            page: t.JobPage = await self._ask("GET", "/api/v1/jobs", query={**query, "after": after})
            for summary in page["jobs"]:
                yield AsyncJob(self, summary["id"], summary)
            after = page.get("next")
            if after is None:
                return

    def ledger(self, **query: Any) -> AsyncIterator[t.LedgerLine]:
        """Lines of the ledger of this month, or from `from_ms` to `to_ms`; of `queue`, `user` or `job`."""
        return self._lines("/api/v1/ledger", query)

    async def close(self) -> None:
        """Closes connections."""
        await self._http.aclose()

    async def __aenter__(self) -> AsyncPond:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
