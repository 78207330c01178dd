"""Every operation of the API. Made by generate.py from docs/openapi.json; change that."""

from __future__ import annotations

from typing import Any, Awaitable, Literal, cast
from urllib.parse import quote

from . import types as t


def _part(value: object) -> str:
    return quote(str(value), safe="")


class Api:
    """A method an operation, called by its tag and its name."""

    def __init__(self, ask: Any) -> None:
        self._ask = ask

    def money_bill(self, *, by: Literal['queue', 'user', 'job', 'class', 'resource', 'day', 'month'] | None = None, from_ms: int | None = None, to_ms: int | None = None, queue: str | None = None, user: str | None = None, job: int | None = None, split_idle: bool | None = None) -> t.BillReport:
        """A bill: charges and credits by queue, user, job, class, resource or time; and what became of the machines."""
        return cast("t.BillReport", self._ask("GET", "/api/v1/bill", query={"by": by, "from_ms": from_ms, "to_ms": to_ms, "queue": queue, "user": user, "job": job, "split_idle": split_idle}))

    def money_budgets(self) -> list[t.BudgetView]:
        """Every budget, and how it stands."""
        return cast("list[t.BudgetView]", self._ask("GET", "/api/v1/budgets"))

    def money_remove_budget(self, path: str) -> None:
        """Let a queue spend what it likes."""
        return cast("None", self._ask("DELETE", f"/api/v1/budgets/{_part(path)}"))

    def money_set_budget(self, path: str, body: t.BudgetBody) -> t.BudgetView:
        """Set what a queue and all below it may spend; `%2F` is the pool's."""
        return cast("t.BudgetView", self._ask("PUT", f"/api/v1/budgets/{_part(path)}", body=body))

    def pool_devices(self) -> list[t.DeviceView]:
        """Every device."""
        return cast("list[t.DeviceView]", self._ask("GET", "/api/v1/devices"))

    def events_list(self, *, since: int | None = None, job: int | None = None, actor: str | None = None, kind: str | None = None, audit: bool | None = None, from_: str | None = None, after_ms: int | None = None, before_ms: int | None = None, newest: bool | None = None, until: int | None = None, limit: int | None = None) -> t.EventPage:
        """The event log, oldest first; a stream when `text/event-stream` is accepted."""
        return cast("t.EventPage", self._ask("GET", "/api/v1/events", query={"since": since, "job": job, "actor": actor, "kind": kind, "audit": audit, "from": from_, "after_ms": after_ms, "before_ms": before_ms, "newest": newest, "until": until, "limit": limit}))

    def pool_health(self) -> t.Health:
        """Whether the pool works. Needs no token."""
        return cast("t.Health", self._ask("GET", "/api/v1/health"))

    def jobs_list(self, *, state: str | None = None, queue: str | None = None, user: str | None = None, name: str | None = None, limit: int | None = None, after: int | None = None) -> t.JobPage:
        """List jobs, newest first."""
        return cast("t.JobPage", self._ask("GET", "/api/v1/jobs", query={"state": state, "queue": queue, "user": user, "name": name, "limit": limit, "after": after}))

    def jobs_submit(self, body: dict[str, Any], *, file: str | None = None, dir: str | None = None) -> t.Submitted:
        """Take in a job."""
        return cast("t.Submitted", self._ask("POST", "/api/v1/jobs", query={"file": file, "dir": dir}, body=body))

    def jobs_remove(self, id: int) -> None:
        """Forget a finished job and delete its files."""
        return cast("None", self._ask("DELETE", f"/api/v1/jobs/{_part(id)}"))

    def jobs_get(self, id: int) -> t.JobDetail:
        """A job, complete. Its command and variables are shown to those who may read its output."""
        return cast("t.JobDetail", self._ask("GET", f"/api/v1/jobs/{_part(id)}"))

    def events_of_job(self, id: int, *, since: int | None = None, job: int | None = None, actor: str | None = None, kind: str | None = None, audit: bool | None = None, from_: str | None = None, after_ms: int | None = None, before_ms: int | None = None, newest: bool | None = None, until: int | None = None, limit: int | None = None) -> t.EventPage:
        """The event log of one job."""
        return cast("t.EventPage", self._ask("GET", f"/api/v1/jobs/{_part(id)}/events", query={"since": since, "job": job, "actor": actor, "kind": kind, "audit": audit, "from": from_, "after_ms": after_ms, "before_ms": before_ms, "newest": newest, "until": until, "limit": limit}))

    def jobs_pause(self, id: int, body: None | t.ActionBody = None) -> t.JobSummary:
        """Freeze a job in place, or stop it keeping its files."""
        return cast("t.JobSummary", self._ask("POST", f"/api/v1/jobs/{_part(id)}/pause", body=body))

    def jobs_resize(self, id: int, body: t.ResizeBody) -> t.JobSummary:
        """Change the limits of a running or waiting job."""
        return cast("t.JobSummary", self._ask("POST", f"/api/v1/jobs/{_part(id)}/resize", body=body))

    def jobs_resume(self, id: int, body: None | t.ActionBody = None) -> t.JobSummary:
        """Undo a pause."""
        return cast("t.JobSummary", self._ask("POST", f"/api/v1/jobs/{_part(id)}/resume", body=body))

    def jobs_retry(self, id: int, body: None | t.ActionBody = None) -> t.JobSummary:
        """Queue a finished job once more."""
        return cast("t.JobSummary", self._ask("POST", f"/api/v1/jobs/{_part(id)}/retry", body=body))

    def jobs_samples(self, id: int) -> t.SampleSeries:
        """What a job's tasks used over time."""
        return cast("t.SampleSeries", self._ask("GET", f"/api/v1/jobs/{_part(id)}/samples"))

    def jobs_stop(self, id: int, body: None | t.ActionBody = None) -> t.JobSummary:
        """End a job: signal, grace, kill."""
        return cast("t.JobSummary", self._ask("POST", f"/api/v1/jobs/{_part(id)}/stop", body=body))

    def jobs_why(self, id: int, *, index: int | None = None) -> t.WhyView:
        """Why a job is where it is."""
        return cast("t.WhyView", self._ask("GET", f"/api/v1/jobs/{_part(id)}/why", query={"index": index}))

    def tokens_login_link(self) -> t.LoginLink:
        """A link that logs in to the web page as the owner of this token, once."""
        return cast("t.LoginLink", self._ask("POST", "/api/v1/login-links"))

    def pool_nodes(self) -> list[t.NodeView]:
        """Every node."""
        return cast("list[t.NodeView]", self._ask("GET", "/api/v1/nodes"))

    def pool_node(self, node: str) -> t.NodeView:
        """A node."""
        return cast("t.NodeView", self._ask("GET", f"/api/v1/nodes/{_part(node)}"))

    def pool_drain(self, node: str) -> t.NodeView:
        """Take no more tasks on a node; running ones stay."""
        return cast("t.NodeView", self._ask("POST", f"/api/v1/nodes/{_part(node)}/drain"))

    def pool_label(self, node: str, body: t.LabelBody) -> t.NodeView:
        """Set labels of a node; an empty value removes one."""
        return cast("t.NodeView", self._ask("POST", f"/api/v1/nodes/{_part(node)}/label", body=body))

    def pool_resume(self, node: str) -> t.NodeView:
        """Take tasks on a node again."""
        return cast("t.NodeView", self._ask("POST", f"/api/v1/nodes/{_part(node)}/resume"))

    def notify_deliveries(self, *, subscription: str | None = None, state: Literal['waiting', 'delivered', 'given_up'] | None = None, job: int | None = None, limit: int | None = None) -> list[t.DeliveryView]:
        """Messages, newest first: the caller's; every one for those who administer the pool."""
        return cast("list[t.DeliveryView]", self._ask("GET", "/api/v1/notify/deliveries", query={"subscription": subscription, "state": state, "job": job, "limit": limit}))

    def notify_delivery(self, id: str) -> t.DeliveryView:
        """One message."""
        return cast("t.DeliveryView", self._ask("GET", f"/api/v1/notify/deliveries/{_part(id)}"))

    def notify_send_again(self, id: str) -> t.DeliveryView:
        """Send a message once more, under the same id, whatever became of it."""
        return cast("t.DeliveryView", self._ask("POST", f"/api/v1/notify/deliveries/{_part(id)}/send"))

    def notify_key(self) -> t.SigningKey:
        """The key that verifies webhooks which the caller's jobs name themselves in `notify:`."""
        return cast("t.SigningKey", self._ask("GET", "/api/v1/notify/key"))

    def notify_settings(self) -> t.NotifySettings:
        """How the pool tells."""
        return cast("t.NotifySettings", self._ask("GET", "/api/v1/notify/settings"))

    def notify_set_settings(self, body: t.NotifySettings) -> t.NotifySettings:
        """Set how the pool tells: whole, what is absent goes back to what is usual."""
        return cast("t.NotifySettings", self._ask("PUT", "/api/v1/notify/settings", body=body))

    def notify_subscriptions(self) -> list[t.SubscriptionView]:
        """The caller's subscriptions; every one for those who administer the pool."""
        return cast("list[t.SubscriptionView]", self._ask("GET", "/api/v1/notify/subscriptions"))

    def notify_unsubscribe(self, name: str) -> None:
        """End a subscription. Its messages that wait are not sent."""
        return cast("None", self._ask("DELETE", f"/api/v1/notify/subscriptions/{_part(name)}"))

    def notify_subscribe(self, name: str, body: t.SubscriptionBody) -> t.NewSubscription:
        """Subscribe, or change a subscription: what was made before is replaced, its key too."""
        return cast("t.NewSubscription", self._ask("PUT", f"/api/v1/notify/subscriptions/{_part(name)}", body=body))

    def notify_test(self, name: str) -> t.DeliveryView:
        """Send a trial message."""
        return cast("t.DeliveryView", self._ask("POST", f"/api/v1/notify/subscriptions/{_part(name)}/test"))

    def pool_document(self) -> dict[str, Any]:
        """This document."""
        return cast("dict[str, Any]", self._ask("GET", "/api/v1/openapi.json"))

    def jobs_plan(self, body: dict[str, Any], *, file: str | None = None, dir: str | None = None) -> t.Preview:
        """What would happen to a job if it were submitted now."""
        return cast("t.Preview", self._ask("POST", "/api/v1/plan", query={"file": file, "dir": dir}, body=body))

    def queues_try_queue(self, path: str, body: t.QueueBody) -> t.QueueTrial:
        """What would happen if a queue were set like this: who would be evicted, held back, started. Changes nothing."""
        return cast("t.QueueTrial", self._ask("POST", f"/api/v1/plan/queues/{_part(path)}", body=body))

    def money_prices(self, *, all: bool | None = None) -> t.PricesView:
        """What things cost."""
        return cast("t.PricesView", self._ask("GET", "/api/v1/prices", query={"all": all}))

    def money_set_prices(self, body: t.PricesBody) -> t.PricesView:
        """Add prices to the sheet, all of them or none. What was charged before stays as it is."""
        return cast("t.PricesView", self._ask("POST", "/api/v1/prices", body=body))

    def money_end_price(self, id: int) -> None:
        """End a price now; one that has not begun is forgotten."""
        return cast("None", self._ask("DELETE", f"/api/v1/prices/{_part(id)}"))

    def people_projects(self) -> list[t.ProjectView]:
        """The projects that the caller sees, with who has a role there."""
        return cast("list[t.ProjectView]", self._ask("GET", "/api/v1/projects"))

    def queues_queues(self) -> list[t.QueueView]:
        """Every queue that the caller sees, and those above, parents before their children."""
        return cast("list[t.QueueView]", self._ask("GET", "/api/v1/queues"))

    def queues_remove_queue(self, path: str) -> None:
        """Remove an empty queue."""
        return cast("None", self._ask("DELETE", f"/api/v1/queues/{_part(path)}"))

    def queues_queue(self, path: str) -> t.QueueView:
        """A queue. The path may hold slashes."""
        return cast("t.QueueView", self._ask("GET", f"/api/v1/queues/{_part(path)}"))

    def queues_set_queue(self, path: str, body: t.QueueBody) -> t.QueueView:
        """Make or change a queue."""
        return cast("t.QueueView", self._ask("PUT", f"/api/v1/queues/{_part(path)}", body=body))

    def people_roles(self, *, user: str | None = None, project: str | None = None) -> list[t.RoleView]:
        """Roles that were given, in the projects that the caller sees, and the caller's own."""
        return cast("list[t.RoleView]", self._ask("GET", "/api/v1/roles", query={"user": user, "project": project}))

    def people_set_role(self, body: t.RoleBody) -> list[t.RoleView]:
        """Give a role in a project, or take it away. Roles that a group of the identity provider gives are its own to take."""
        return cast("list[t.RoleView]", self._ask("PUT", "/api/v1/roles", body=body))

    def pool_scheduler(self) -> t.SchedulerView:
        """How the pool decides."""
        return cast("t.SchedulerView", self._ask("GET", "/api/v1/scheduler"))

    def pool_set_scheduler(self, body: t.SchedulerBody) -> t.SchedulerView:
        """Choose how the pool decides: from the next plan on, and after every restart. What runs goes on."""
        return cast("t.SchedulerView", self._ask("PUT", "/api/v1/scheduler", body=body))

    def secrets_secrets(self) -> list[t.SecretView]:
        """Names of secrets."""
        return cast("list[t.SecretView]", self._ask("GET", "/api/v1/secrets"))

    def secrets_remove_secret(self, name: str) -> None:
        """Remove a secret."""
        return cast("None", self._ask("DELETE", f"/api/v1/secrets/{_part(name)}"))

    def secrets_secret(self, name: str) -> t.SecretView:
        """A secret's name and when it was set; its value is never given back."""
        return cast("t.SecretView", self._ask("GET", f"/api/v1/secrets/{_part(name)}"))

    def secrets_set_secret(self, name: str, body: t.SecretBody) -> t.SecretView:
        """Set a secret. Tasks that ask for it get it at their next start."""
        return cast("t.SecretView", self._ask("PUT", f"/api/v1/secrets/{_part(name)}", body=body))

    def pool_shutdown(self, body: None | t.ShutdownBody = None) -> None:
        """End the server. Tasks stay for the next one with `keep`, otherwise they are stopped first."""
        return cast("None", self._ask("POST", "/api/v1/shutdown", body=body))

    def pool_status(self) -> t.StatusView:
        """The pool in one object."""
        return cast("t.StatusView", self._ask("GET", "/api/v1/status"))

    def tokens_tokens(self) -> list[t.TokenView]:
        """The named tokens: the caller's own; every one for those who administer the pool. A token sees those that allow no more and
        last no longer than itself."""
        return cast("list[t.TokenView]", self._ask("GET", "/api/v1/tokens"))

    def tokens_remove_token(self, name: str) -> None:
        """Revoke a token. A token revokes itself, and those that allow no more and last no longer than itself."""
        return cast("None", self._ask("DELETE", f"/api/v1/tokens/{_part(name)}"))

    def tokens_set_token(self, name: str, body: t.TokenBody) -> t.NewToken:
        """Make a token. An older one of this name is replaced. No token makes or replaces one that allows more or lasts longer than itself."""
        return cast("t.NewToken", self._ask("PUT", f"/api/v1/tokens/{_part(name)}", body=body))

    def usage_usage(self, *, by: str | None = None) -> t.UsageReport:
        """What was used, and by whom."""
        return cast("t.UsageReport", self._ask("GET", "/api/v1/usage", query={"by": by}))

    def people_users(self) -> list[t.UserView]:
        """Everybody but the pool's owner."""
        return cast("list[t.UserView]", self._ask("GET", "/api/v1/users"))

    def people_user(self, name: str) -> t.UserView:
        """A user: oneself, or anybody for those who administer the pool."""
        return cast("t.UserView", self._ask("GET", f"/api/v1/users/{_part(name)}"))

    def people_set_user(self, name: str, body: t.UserBody) -> t.UserView:
        """Add a user, or change one. A new one has no role and no password."""
        return cast("t.UserView", self._ask("PUT", f"/api/v1/users/{_part(name)}", body=body))

    def people_set_password(self, name: str, body: t.PasswordBody) -> None:
        """Set a password: one's own, giving the one before, or anybody's for those who administer the pool. Ends the sessions that the
        one before began."""
        return cast("None", self._ask("PUT", f"/api/v1/users/{_part(name)}/password", body=body))

    def pool_version(self) -> t.Version:
        """Which program answers."""
        return cast("t.Version", self._ask("GET", "/api/v1/version"))

    def pool_whoami(self) -> t.WhoView:
        """Whom the token stands for, and what it lets them do."""
        return cast("t.WhoView", self._ask("GET", "/api/v1/whoami"))


class AsyncApi:
    """A method an operation, called by its tag and its name."""

    def __init__(self, ask: Any) -> None:
        self._ask = ask

    def money_bill(self, *, by: Literal['queue', 'user', 'job', 'class', 'resource', 'day', 'month'] | None = None, from_ms: int | None = None, to_ms: int | None = None, queue: str | None = None, user: str | None = None, job: int | None = None, split_idle: bool | None = None) -> Awaitable[t.BillReport]:
        """A bill: charges and credits by queue, user, job, class, resource or time; and what became of the machines."""
        return cast("Awaitable[t.BillReport]", self._ask("GET", "/api/v1/bill", query={"by": by, "from_ms": from_ms, "to_ms": to_ms, "queue": queue, "user": user, "job": job, "split_idle": split_idle}))

    def money_budgets(self) -> Awaitable[list[t.BudgetView]]:
        """Every budget, and how it stands."""
        return cast("Awaitable[list[t.BudgetView]]", self._ask("GET", "/api/v1/budgets"))

    def money_remove_budget(self, path: str) -> Awaitable[None]:
        """Let a queue spend what it likes."""
        return cast("Awaitable[None]", self._ask("DELETE", f"/api/v1/budgets/{_part(path)}"))

    def money_set_budget(self, path: str, body: t.BudgetBody) -> Awaitable[t.BudgetView]:
        """Set what a queue and all below it may spend; `%2F` is the pool's."""
        return cast("Awaitable[t.BudgetView]", self._ask("PUT", f"/api/v1/budgets/{_part(path)}", body=body))

    def pool_devices(self) -> Awaitable[list[t.DeviceView]]:
        """Every device."""
        return cast("Awaitable[list[t.DeviceView]]", self._ask("GET", "/api/v1/devices"))

    def events_list(self, *, since: int | None = None, job: int | None = None, actor: str | None = None, kind: str | None = None, audit: bool | None = None, from_: str | None = None, after_ms: int | None = None, before_ms: int | None = None, newest: bool | None = None, until: int | None = None, limit: int | None = None) -> Awaitable[t.EventPage]:
        """The event log, oldest first; a stream when `text/event-stream` is accepted."""
        return cast("Awaitable[t.EventPage]", self._ask("GET", "/api/v1/events", query={"since": since, "job": job, "actor": actor, "kind": kind, "audit": audit, "from": from_, "after_ms": after_ms, "before_ms": before_ms, "newest": newest, "until": until, "limit": limit}))

    def pool_health(self) -> Awaitable[t.Health]:
        """Whether the pool works. Needs no token."""
        return cast("Awaitable[t.Health]", self._ask("GET", "/api/v1/health"))

    def jobs_list(self, *, state: str | None = None, queue: str | None = None, user: str | None = None, name: str | None = None, limit: int | None = None, after: int | None = None) -> Awaitable[t.JobPage]:
        """List jobs, newest first."""
        return cast("Awaitable[t.JobPage]", self._ask("GET", "/api/v1/jobs", query={"state": state, "queue": queue, "user": user, "name": name, "limit": limit, "after": after}))

    def jobs_submit(self, body: dict[str, Any], *, file: str | None = None, dir: str | None = None) -> Awaitable[t.Submitted]:
        """Take in a job."""
        return cast("Awaitable[t.Submitted]", self._ask("POST", "/api/v1/jobs", query={"file": file, "dir": dir}, body=body))

    def jobs_remove(self, id: int) -> Awaitable[None]:
        """Forget a finished job and delete its files."""
        return cast("Awaitable[None]", self._ask("DELETE", f"/api/v1/jobs/{_part(id)}"))

    def jobs_get(self, id: int) -> Awaitable[t.JobDetail]:
        """A job, complete. Its command and variables are shown to those who may read its output."""
        return cast("Awaitable[t.JobDetail]", self._ask("GET", f"/api/v1/jobs/{_part(id)}"))

    def events_of_job(self, id: int, *, since: int | None = None, job: int | None = None, actor: str | None = None, kind: str | None = None, audit: bool | None = None, from_: str | None = None, after_ms: int | None = None, before_ms: int | None = None, newest: bool | None = None, until: int | None = None, limit: int | None = None) -> Awaitable[t.EventPage]:
        """The event log of one job."""
        return cast("Awaitable[t.EventPage]", self._ask("GET", f"/api/v1/jobs/{_part(id)}/events", query={"since": since, "job": job, "actor": actor, "kind": kind, "audit": audit, "from": from_, "after_ms": after_ms, "before_ms": before_ms, "newest": newest, "until": until, "limit": limit}))

    def jobs_pause(self, id: int, body: None | t.ActionBody = None) -> Awaitable[t.JobSummary]:
        """Freeze a job in place, or stop it keeping its files."""
        return cast("Awaitable[t.JobSummary]", self._ask("POST", f"/api/v1/jobs/{_part(id)}/pause", body=body))

    def jobs_resize(self, id: int, body: t.ResizeBody) -> Awaitable[t.JobSummary]:
        """Change the limits of a running or waiting job."""
        return cast("Awaitable[t.JobSummary]", self._ask("POST", f"/api/v1/jobs/{_part(id)}/resize", body=body))

    def jobs_resume(self, id: int, body: None | t.ActionBody = None) -> Awaitable[t.JobSummary]:
        """Undo a pause."""
        return cast("Awaitable[t.JobSummary]", self._ask("POST", f"/api/v1/jobs/{_part(id)}/resume", body=body))

    def jobs_retry(self, id: int, body: None | t.ActionBody = None) -> Awaitable[t.JobSummary]:
        """Queue a finished job once more."""
        return cast("Awaitable[t.JobSummary]", self._ask("POST", f"/api/v1/jobs/{_part(id)}/retry", body=body))

    def jobs_samples(self, id: int) -> Awaitable[t.SampleSeries]:
        """What a job's tasks used over time."""
        return cast("Awaitable[t.SampleSeries]", self._ask("GET", f"/api/v1/jobs/{_part(id)}/samples"))

    def jobs_stop(self, id: int, body: None | t.ActionBody = None) -> Awaitable[t.JobSummary]:
        """End a job: signal, grace, kill."""
        return cast("Awaitable[t.JobSummary]", self._ask("POST", f"/api/v1/jobs/{_part(id)}/stop", body=body))

    def jobs_why(self, id: int, *, index: int | None = None) -> Awaitable[t.WhyView]:
        """Why a job is where it is."""
        return cast("Awaitable[t.WhyView]", self._ask("GET", f"/api/v1/jobs/{_part(id)}/why", query={"index": index}))

    def tokens_login_link(self) -> Awaitable[t.LoginLink]:
        """A link that logs in to the web page as the owner of this token, once."""
        return cast("Awaitable[t.LoginLink]", self._ask("POST", "/api/v1/login-links"))

    def pool_nodes(self) -> Awaitable[list[t.NodeView]]:
        """Every node."""
        return cast("Awaitable[list[t.NodeView]]", self._ask("GET", "/api/v1/nodes"))

    def pool_node(self, node: str) -> Awaitable[t.NodeView]:
        """A node."""
        return cast("Awaitable[t.NodeView]", self._ask("GET", f"/api/v1/nodes/{_part(node)}"))

    def pool_drain(self, node: str) -> Awaitable[t.NodeView]:
        """Take no more tasks on a node; running ones stay."""
        return cast("Awaitable[t.NodeView]", self._ask("POST", f"/api/v1/nodes/{_part(node)}/drain"))

    def pool_label(self, node: str, body: t.LabelBody) -> Awaitable[t.NodeView]:
        """Set labels of a node; an empty value removes one."""
        return cast("Awaitable[t.NodeView]", self._ask("POST", f"/api/v1/nodes/{_part(node)}/label", body=body))

    def pool_resume(self, node: str) -> Awaitable[t.NodeView]:
        """Take tasks on a node again."""
        return cast("Awaitable[t.NodeView]", self._ask("POST", f"/api/v1/nodes/{_part(node)}/resume"))

    def notify_deliveries(self, *, subscription: str | None = None, state: Literal['waiting', 'delivered', 'given_up'] | None = None, job: int | None = None, limit: int | None = None) -> Awaitable[list[t.DeliveryView]]:
        """Messages, newest first: the caller's; every one for those who administer the pool."""
        return cast("Awaitable[list[t.DeliveryView]]", self._ask("GET", "/api/v1/notify/deliveries", query={"subscription": subscription, "state": state, "job": job, "limit": limit}))

    def notify_delivery(self, id: str) -> Awaitable[t.DeliveryView]:
        """One message."""
        return cast("Awaitable[t.DeliveryView]", self._ask("GET", f"/api/v1/notify/deliveries/{_part(id)}"))

    def notify_send_again(self, id: str) -> Awaitable[t.DeliveryView]:
        """Send a message once more, under the same id, whatever became of it."""
        return cast("Awaitable[t.DeliveryView]", self._ask("POST", f"/api/v1/notify/deliveries/{_part(id)}/send"))

    def notify_key(self) -> Awaitable[t.SigningKey]:
        """The key that verifies webhooks which the caller's jobs name themselves in `notify:`."""
        return cast("Awaitable[t.SigningKey]", self._ask("GET", "/api/v1/notify/key"))

    def notify_settings(self) -> Awaitable[t.NotifySettings]:
        """How the pool tells."""
        return cast("Awaitable[t.NotifySettings]", self._ask("GET", "/api/v1/notify/settings"))

    def notify_set_settings(self, body: t.NotifySettings) -> Awaitable[t.NotifySettings]:
        """Set how the pool tells: whole, what is absent goes back to what is usual."""
        return cast("Awaitable[t.NotifySettings]", self._ask("PUT", "/api/v1/notify/settings", body=body))

    def notify_subscriptions(self) -> Awaitable[list[t.SubscriptionView]]:
        """The caller's subscriptions; every one for those who administer the pool."""
        return cast("Awaitable[list[t.SubscriptionView]]", self._ask("GET", "/api/v1/notify/subscriptions"))

    def notify_unsubscribe(self, name: str) -> Awaitable[None]:
        """End a subscription. Its messages that wait are not sent."""
        return cast("Awaitable[None]", self._ask("DELETE", f"/api/v1/notify/subscriptions/{_part(name)}"))

    def notify_subscribe(self, name: str, body: t.SubscriptionBody) -> Awaitable[t.NewSubscription]:
        """Subscribe, or change a subscription: what was made before is replaced, its key too."""
        return cast("Awaitable[t.NewSubscription]", self._ask("PUT", f"/api/v1/notify/subscriptions/{_part(name)}", body=body))

    def notify_test(self, name: str) -> Awaitable[t.DeliveryView]:
        """Send a trial message."""
        return cast("Awaitable[t.DeliveryView]", self._ask("POST", f"/api/v1/notify/subscriptions/{_part(name)}/test"))

    def pool_document(self) -> Awaitable[dict[str, Any]]:
        """This document."""
        return cast("Awaitable[dict[str, Any]]", self._ask("GET", "/api/v1/openapi.json"))

    def jobs_plan(self, body: dict[str, Any], *, file: str | None = None, dir: str | None = None) -> Awaitable[t.Preview]:
        """What would happen to a job if it were submitted now."""
        return cast("Awaitable[t.Preview]", self._ask("POST", "/api/v1/plan", query={"file": file, "dir": dir}, body=body))

    def queues_try_queue(self, path: str, body: t.QueueBody) -> Awaitable[t.QueueTrial]:
        """What would happen if a queue were set like this: who would be evicted, held back, started. Changes nothing."""
        return cast("Awaitable[t.QueueTrial]", self._ask("POST", f"/api/v1/plan/queues/{_part(path)}", body=body))

    def money_prices(self, *, all: bool | None = None) -> Awaitable[t.PricesView]:
        """What things cost."""
        return cast("Awaitable[t.PricesView]", self._ask("GET", "/api/v1/prices", query={"all": all}))

    def money_set_prices(self, body: t.PricesBody) -> Awaitable[t.PricesView]:
        """Add prices to the sheet, all of them or none. What was charged before stays as it is."""
        return cast("Awaitable[t.PricesView]", self._ask("POST", "/api/v1/prices", body=body))

    def money_end_price(self, id: int) -> Awaitable[None]:
        """End a price now; one that has not begun is forgotten."""
        return cast("Awaitable[None]", self._ask("DELETE", f"/api/v1/prices/{_part(id)}"))

    def people_projects(self) -> Awaitable[list[t.ProjectView]]:
        """The projects that the caller sees, with who has a role there."""
        return cast("Awaitable[list[t.ProjectView]]", self._ask("GET", "/api/v1/projects"))

    def queues_queues(self) -> Awaitable[list[t.QueueView]]:
        """Every queue that the caller sees, and those above, parents before their children."""
        return cast("Awaitable[list[t.QueueView]]", self._ask("GET", "/api/v1/queues"))

    def queues_remove_queue(self, path: str) -> Awaitable[None]:
        """Remove an empty queue."""
        return cast("Awaitable[None]", self._ask("DELETE", f"/api/v1/queues/{_part(path)}"))

    def queues_queue(self, path: str) -> Awaitable[t.QueueView]:
        """A queue. The path may hold slashes."""
        return cast("Awaitable[t.QueueView]", self._ask("GET", f"/api/v1/queues/{_part(path)}"))

    def queues_set_queue(self, path: str, body: t.QueueBody) -> Awaitable[t.QueueView]:
        """Make or change a queue."""
        return cast("Awaitable[t.QueueView]", self._ask("PUT", f"/api/v1/queues/{_part(path)}", body=body))

    def people_roles(self, *, user: str | None = None, project: str | None = None) -> Awaitable[list[t.RoleView]]:
        """Roles that were given, in the projects that the caller sees, and the caller's own."""
        return cast("Awaitable[list[t.RoleView]]", self._ask("GET", "/api/v1/roles", query={"user": user, "project": project}))

    def people_set_role(self, body: t.RoleBody) -> Awaitable[list[t.RoleView]]:
        """Give a role in a project, or take it away. Roles that a group of the identity provider gives are its own to take."""
        return cast("Awaitable[list[t.RoleView]]", self._ask("PUT", "/api/v1/roles", body=body))

    def pool_scheduler(self) -> Awaitable[t.SchedulerView]:
        """How the pool decides."""
        return cast("Awaitable[t.SchedulerView]", self._ask("GET", "/api/v1/scheduler"))

    def pool_set_scheduler(self, body: t.SchedulerBody) -> Awaitable[t.SchedulerView]:
        """Choose how the pool decides: from the next plan on, and after every restart. What runs goes on."""
        return cast("Awaitable[t.SchedulerView]", self._ask("PUT", "/api/v1/scheduler", body=body))

    def secrets_secrets(self) -> Awaitable[list[t.SecretView]]:
        """Names of secrets."""
        return cast("Awaitable[list[t.SecretView]]", self._ask("GET", "/api/v1/secrets"))

    def secrets_remove_secret(self, name: str) -> Awaitable[None]:
        """Remove a secret."""
        return cast("Awaitable[None]", self._ask("DELETE", f"/api/v1/secrets/{_part(name)}"))

    def secrets_secret(self, name: str) -> Awaitable[t.SecretView]:
        """A secret's name and when it was set; its value is never given back."""
        return cast("Awaitable[t.SecretView]", self._ask("GET", f"/api/v1/secrets/{_part(name)}"))

    def secrets_set_secret(self, name: str, body: t.SecretBody) -> Awaitable[t.SecretView]:
        """Set a secret. Tasks that ask for it get it at their next start."""
        return cast("Awaitable[t.SecretView]", self._ask("PUT", f"/api/v1/secrets/{_part(name)}", body=body))

    def pool_shutdown(self, body: None | t.ShutdownBody = None) -> Awaitable[None]:
        """End the server. Tasks stay for the next one with `keep`, otherwise they are stopped first."""
        return cast("Awaitable[None]", self._ask("POST", "/api/v1/shutdown", body=body))

    def pool_status(self) -> Awaitable[t.StatusView]:
        """The pool in one object."""
        return cast("Awaitable[t.StatusView]", self._ask("GET", "/api/v1/status"))

    def tokens_tokens(self) -> Awaitable[list[t.TokenView]]:
        """The named tokens: the caller's own; every one for those who administer the pool. A token sees those that allow no more and
        last no longer than itself."""
        return cast("Awaitable[list[t.TokenView]]", self._ask("GET", "/api/v1/tokens"))

    def tokens_remove_token(self, name: str) -> Awaitable[None]:
        """Revoke a token. A token revokes itself, and those that allow no more and last no longer than itself."""
        return cast("Awaitable[None]", self._ask("DELETE", f"/api/v1/tokens/{_part(name)}"))

    def tokens_set_token(self, name: str, body: t.TokenBody) -> Awaitable[t.NewToken]:
        """Make a token. An older one of this name is replaced. No token makes or replaces one that allows more or lasts longer than itself."""
        return cast("Awaitable[t.NewToken]", self._ask("PUT", f"/api/v1/tokens/{_part(name)}", body=body))

    def usage_usage(self, *, by: str | None = None) -> Awaitable[t.UsageReport]:
        """What was used, and by whom."""
        return cast("Awaitable[t.UsageReport]", self._ask("GET", "/api/v1/usage", query={"by": by}))

    def people_users(self) -> Awaitable[list[t.UserView]]:
        """Everybody but the pool's owner."""
        return cast("Awaitable[list[t.UserView]]", self._ask("GET", "/api/v1/users"))

    def people_user(self, name: str) -> Awaitable[t.UserView]:
        """A user: oneself, or anybody for those who administer the pool."""
        return cast("Awaitable[t.UserView]", self._ask("GET", f"/api/v1/users/{_part(name)}"))

    def people_set_user(self, name: str, body: t.UserBody) -> Awaitable[t.UserView]:
        """Add a user, or change one. A new one has no role and no password."""
        return cast("Awaitable[t.UserView]", self._ask("PUT", f"/api/v1/users/{_part(name)}", body=body))

    def people_set_password(self, name: str, body: t.PasswordBody) -> Awaitable[None]:
        """Set a password: one's own, giving the one before, or anybody's for those who administer the pool. Ends the sessions that the
        one before began."""
        return cast("Awaitable[None]", self._ask("PUT", f"/api/v1/users/{_part(name)}/password", body=body))

    def pool_version(self) -> Awaitable[t.Version]:
        """Which program answers."""
        return cast("Awaitable[t.Version]", self._ask("GET", "/api/v1/version"))

    def pool_whoami(self) -> Awaitable[t.WhoView]:
        """Whom the token stands for, and what it lets them do."""
        return cast("Awaitable[t.WhoView]", self._ask("GET", "/api/v1/whoami"))
