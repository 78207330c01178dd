"""What goes over the wire. Made by generate.py from docs/openapi.json; change that."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

BillBy = Literal['queue', 'user', 'job', 'class', 'resource', 'day', 'month']
"""By what a bill is divided."""

BudgetSpan = Literal['day', 'week', 'month', 'total']
"""Over what a budget counts, in UTC."""

BudgetStop = Literal['never', 'hold', 'end']
"""What happens when a budget is spent."""

Class = Literal['spare', 'standard', 'critical']
"""What the pool promises."""

DeliveryState = Literal['waiting', 'delivered', 'given_up']
"""How far a message has come."""

Effected = Literal['evicted', 'shrinks', 'freezes', 'held_back', 'never', 'waits', 'starts', 'grows', 'thaws']
"""What a change of a queue would do to a job's element."""

JobKind = Literal['task', 'env']
"""What sort of job."""

MailTls = Literal['starttls', 'implicit', 'none']
"""How a connection to a mail server is protected."""

Role = Literal['viewer', 'member', 'maintainer', 'admin']
"""What a user is in a project. Each has all that the one before has."""

State = Literal['running', 'starting', 'stopping', 'frozen', 'waiting', 'infeasible', 'paused', 'failed', 'stopped', 'succeeded']
"""Where a job, an array element or a task stands. Of a job with many elements: the first in this order that
any element has, so a job is over when all of it is."""

Topic = Literal['started', 'succeeded', 'failed', 'stopped', 'preempted', 'waiting', 'idle', 'budget', 'budget_spent', 'node_lost', 'device_sick', 'token', 'test']
"""What may be told."""


class ActionBody(TypedDict):
    """Which part of a job an action is about, and how."""
    index: NotRequired[int | None]
    """One array element; absent: all of them."""
    now: NotRequired[bool]
    """`stop`: skip the signal and the grace."""
    release: NotRequired[bool]
    """`pause`: stop it and give everything back, keeping its files, instead of freezing it in place."""


class Affected(TypedDict):
    """An element of a job that a change of a queue would affect. Of jobs that the caller may not see only the number is told."""
    element: str
    """The element."""
    job: int
    """The job."""
    name: NotRequired[str | None]
    """The job's name."""
    queue: NotRequired[str | None]
    """Its queue."""
    reason: NotRequired[str | None]
    """Why, in a few words."""
    user: NotRequired[str | None]
    """Who submitted it."""
    what: Effected
    """What would happen to it."""


class Amounts(TypedDict):
    """CPU, memory and disk."""
    cpu_milli: int
    """Thousandths of a core."""
    disk_bytes: int
    """Disk."""
    memory_bytes: int
    """Memory."""


class BillAmount(TypedDict):
    """One resource of a bill. `granted = used + waste`."""
    burst_micro_hours: int
    """Used beyond what was granted."""
    charge_micros: int
    """Charged."""
    charged_micro_hours: NotRequired[int]
    """So much is charged for, at the price of the class or of `spare`: what `pond usage` counts."""
    credit_micros: int
    """Given back."""
    granted_micro_hours: int
    """Granted while it ran."""
    model: NotRequired[str | None]
    """The device's model name."""
    resource: str
    """`cpu`, `memory`, `disk`, `gpu`, `fpga`, `npu` or `opencl`."""
    unit: str
    """`core-hour`, `GiB-hour` or `device-hour`."""
    used_micro_hours: int
    """Of that, used."""
    waste_micro_hours: int
    """Of that, not used."""


class BillReport(TypedDict):
    """A bill. The charges less credits of its rows add up to `total`, to the micro-unit."""
    by: BillBy
    """By what it is divided."""
    currency: str
    """The currency."""
    from_ms: int
    """Periods that began at this moment or later were asked for."""
    pool: list[PoolAmount]
    """What became of the machines in that time, whoever is asked about."""
    rows: list[BillRow]
    """The largest first."""
    summed_from_ms: NotRequired[int | None]
    """When the first period began that was summed; absent: none was. Periods are summed whole: one ends with the hour in UTC, and
    where a price begins or ends."""
    summed_to_ms: NotRequired[int | None]
    """When the last one ended that was summed."""
    to_ms: int
    """Up to this moment."""
    total: BillRow
    """All rows together."""


class BillRow(TypedDict):
    """One queue, user, job, class, resource or time."""
    amounts: list[BillAmount]
    """By resource."""
    charge_micros: int
    """Charged."""
    charge_spare_micros: int
    """Of that, for use beyond what was granted and for all use of `spare`."""
    credit_micros: int
    """Given back because the pool lost the work."""
    idle_micros: NotRequired[int | None]
    """Its part of what idle machines would have cost, when that is divided."""
    key: str
    """Which."""
    net_micros: int
    """Charge less credit."""
    waste_micros: int
    """Of the charge, for what was granted and not used; rounded down for each line of the ledger."""


class BlamedView(TypedDict):
    """A device that ended an attempt."""
    attempt: int
    """Which attempt."""
    device: int
    """Its ordinal there."""
    message: str
    """Which device, and what was told of it."""
    node: str
    """Its node."""
    pool_pays: bool
    """Whether trying again is on the pool's account, and not one of the job's own attempts."""
    rank: int
    """The rank that was on it."""


class BudgetBody(TypedDict):
    """A budget to be set."""
    alerts: NotRequired[list[int]]
    """Parts of the limit, in percent, at which an event `budget.alert` is told. Default: 80 and 100."""
    limit_micros: int
    """What the queue and all below it may spend."""
    span: NotRequired[BudgetSpan]
    """Over what. Default: a month."""
    stop: NotRequired[BudgetStop]
    """What happens at the limit. Default: queued jobs wait."""


class BudgetView(TypedDict):
    """A budget, and how it stands."""
    alerts: list[int]
    """Parts at which people are told, in percent."""
    blocks: bool
    """Whether jobs wait for it now."""
    currency: str
    """In this currency."""
    from_ms: int
    """When the span began."""
    limit_micros: int
    """What may be spent."""
    percent: NotRequired[int | None]
    """Of the limit, rounded down; absent when the limit is 0."""
    queue: str
    """The queue; empty: the pool."""
    span: BudgetSpan
    """Over what."""
    spent_micros: int
    """What was spent in this span, less credits."""
    stop: BudgetStop
    """What happens at the limit."""
    to_ms: NotRequired[int | None]
    """When the next one begins."""


class CostView(TypedDict):
    """What a job has cost up to now."""
    charge_micros: int
    """Charged."""
    credit_micros: int
    """Of that, given back because the pool lost the work."""
    currency: str
    """In this currency."""


class Counts(TypedDict):
    """How many array elements are in each state."""
    by_state: dict[str, int]
    """Elements by state; states without elements are left out."""
    total: int
    """Elements in all; 1 for a plain job."""


class DeliveryView(TypedDict):
    """A message to one recipient."""
    attempts: int
    """Times it was tried."""
    due_ms: NotRequired[int | None]
    """When it is tried next."""
    id: str
    """Its id, which a webhook has as `webhook-id`: the same however often it is sent."""
    job: NotRequired[int | None]
    """About which job."""
    last: NotRequired[str | None]
    """What came of the last try."""
    made_ms: int
    """When it was made."""
    state: DeliveryState
    """How far it has come."""
    subscription: NotRequired[str | None]
    """By which subscription; absent: the job named the recipient itself."""
    text: str
    """In one line."""
    to: str
    """Where it goes."""
    topic: Topic
    """About what."""
    user: str
    """Whose message it is."""


class DeviceAsk(TypedDict):
    """Devices asked for by one task."""
    compute_thousandths: int
    """Share of compute on each."""
    count: int
    """How many."""
    kind: str
    """`gpu`, `fpga`, `npu`, `opencl`."""
    memory_bytes: int
    """Share of memory on each; 0: all of it."""
    mode: str
    """`exclusive`, `space`, `time`, or `advisory`: a share that nobody keeps."""
    model: NotRequired[str | None]
    """The model asked for; absent: any."""
    profile: NotRequired[str | None]
    """Of a partition: its profile by name."""


class DeviceResize(TypedDict):
    """New terms of a job's shares of one kind of device. What is absent stays."""
    compute_most_thousandths: NotRequired[int | None]
    """The most time, when others leave it unused; absent and `compute_thousandths` present: the same."""
    compute_thousandths: NotRequired[int | None]
    """Guaranteed time, thousandths of a device. Memory that was in proportion to it stays in proportion."""
    kind: str
    """`gpu`, `fpga`, `npu`, `opencl`."""
    memory_bytes: NotRequired[int | None]
    """Guaranteed memory."""
    memory_most_bytes: NotRequired[int | None]
    """The most memory; absent and `memory_bytes` present: the same."""
    weight: NotRequired[int | None]
    """Its part of what others leave, against theirs."""


class DeviceUseView(TypedDict):
    """Use of a share of a device."""
    allowed_thousandths: int
    """The part of its time it may use now: what was promised, and what others leave."""
    busy_ms: int
    """Time of the device used since the task's start."""
    delivered_thousandths: int
    """The part of its time that was used, over the last minute at most."""
    launches: int
    """Launches."""
    memory_bytes: int
    """Memory held."""
    real_memory_bytes: NotRequired[int | None]
    """Memory that its processes hold by the driver's own count, where the driver tells it."""
    refused: int
    """Allocations that were refused because the share was full."""
    throttled_ms: int
    """Time that launches were held back, added up over threads."""


class DeviceView(TypedDict):
    """A device."""
    because: NotRequired[str | None]
    """What was told of it when it was found not to be healthy."""
    corrected_errors: NotRequired[int | None]
    """Errors of memory that were corrected in its life, where its driver says."""
    device: int
    """Ordinal on its node."""
    free: NotRequired[list[FreeSize]]
    """What it can give right now."""
    free_compute_thousandths: int
    """Compute not granted."""
    free_memory_bytes: int
    """Memory not granted."""
    health: NotRequired[str]
    """`healthy`, `suspect`, `sick`, `draining` (sick, with tasks on it), `back` (well again, and proving it)."""
    healthy: bool
    """Whether it may be granted."""
    holders: list[HolderView]
    """Who is on it: tasks and their shares."""
    kind: str
    """`gpu`, `fpga`, `npu`, `opencl`."""
    links: NotRequired[list[str]]
    """How it is joined to each device of its node, by ordinal, in the words of `nvidia-smi topo -m`: `NV18` (so many links of
    NVLink), `XGMI1` (so many hops of XGMI), `PIX`, `PXB`, `PHB`, `NODE`, `SYS`, from near to far; `X` for itself, `?` where
    nobody knows. Empty: of none is it known."""
    memory_bytes: int
    """Memory in all."""
    model: str
    """The maker's name."""
    modes: list[str]
    """Ways it can be divided."""
    node: str
    """The node it is on."""
    numa: NotRequired[int | None]
    """The NUMA node it hangs on, when known."""
    remap_pending: NotRequired[bool]
    """Whether rows of its memory wait for its next reset to be remapped."""
    remapped_rows: NotRequired[int | None]
    """Rows of its memory that were remapped in its life, where its driver says."""
    shared_as: NotRequired[str | None]
    """How those who are on it share it; absent: nobody is."""
    since_ms: NotRequired[int | None]
    """When it stopped being healthy; absent while it is, and where that was before the pool noted it."""
    uuid: str
    """The driver's lasting name."""


class EstimateView(TypedDict):
    """What a job would cost at the prices that hold now."""
    about_micros: NotRequired[int | None]
    """All elements, if each ran as long as it is predicted to; absent where nobody knows."""
    budget: NotRequired[None | BudgetView]
    currency: str
    """In this currency."""
    hour_micros: int
    """An hour of one element, for what it is granted. `spare` pays for what it uses of that."""
    most_micros: NotRequired[int | None]
    """All elements, if each ran to its time limit; absent without one."""


class EventPage(TypedDict):
    """A page of the event log, oldest first unless the newest were asked for. What the caller may not see is left out, so
    a page may be short and still have a next one."""
    events: list[EventView]
    """The entries."""
    next: NotRequired[int | None]
    """`since` of the next page, or its `until` when the newest come first; absent on the last."""


class EventView(TypedDict):
    """One entry of the event log, which is the audit log too."""
    actor: str
    """Who: a user's name, `node:NAME` or `pool`."""
    at_ms: int
    """When."""
    # `from`: NotRequired[str | None]
    job: NotRequired[int | None]
    """The job it is about."""
    kind: str
    """What, for programs: `job.submitted`, `gang.placed`, `node.drained`, `token.created`, ..."""
    node: NotRequired[str | None]
    """The node it is about."""
    seq: int
    """Counts up; gaps are possible, doubles are not."""
    subject: NotRequired[str | None]
    """The gang or task it is about."""
    text: str
    """What, for people: one sentence."""


class ExitView(TypedDict):
    """How a task ended."""
    code: int
    """What a shell would report: the code, or 128 + the signal."""
    kind: str
    """`code`, `signal`, `out_of_memory`, `out_of_disk`, `device_error`, `lost`, `not_started`."""


class ForecastView(TypedDict):
    """How predicted starts came out, of a sample."""
    compared: int
    """The last ones that came out, at most 512."""
    earliest_ms: NotRequired[int | None]
    """One in ten came earlier than foretold by more than this (then negative)."""
    latest_ms: NotRequired[int | None]
    """One in ten came later than foretold by more than this."""
    made: int
    """Forecasts made."""
    median_error_ms: NotRequired[int | None]
    """Half of these were wrong by less, early or late."""
    open: int
    """Of these, gangs that wait still."""


class FreeSize(TypedDict):
    """The largest piece of a device that can be granted right now in one way."""
    compute_thousandths: int
    """Its time."""
    count: NotRequired[int]
    """How many such pieces could be granted, were no others."""
    memory_bytes: int
    """Its memory."""
    mode: str
    """`exclusive`, `space`, `time`, `advisory`."""
    profile: NotRequired[str | None]
    """Of a partition: its profile. There is an entry for each profile that has a place."""


class FunnelStep(TypedDict):
    """One constraint of the funnel."""
    constraint: str
    """The constraint, in words: `too small (memory)`."""
    removed: int
    """Nodes it removed."""


class GangView(TypedDict):
    """One array element: tasks that start together."""
    attempt: int
    """Number of the present or last attempt, from 1; 0 before the first."""
    blamed: NotRequired[None | BlamedView]
    generation: int
    """Fencing number of the present or last placement."""
    id: str
    """Its id: `12` or `12[7]`."""
    index: int
    """The array index."""
    near: NotRequired[list[NearView]]
    """How near its devices are to each other, for each node that it has several of and that says so."""
    reason: NotRequired[str | None]
    """Why it waits, failed or was stopped."""
    state: State
    """Where it stands."""
    tasks: list[TaskView]
    """Tasks of the present or last attempt, by rank."""


class GrantView(TypedDict):
    """A device granted to a task."""
    compute_thousandths: int
    """Share of its compute."""
    device: int
    """Ordinal on its node."""
    memory_bytes: int
    """Share of its memory."""
    mode: NotRequired[str | None]
    """`exclusive`, `space`, `time`, or `advisory`: a share that nobody keeps."""
    partition: NotRequired[str | None]
    """Of a partition: its profile and, after `@`, its first memory slice: `3g.40gb@4`."""
    use_now: NotRequired[None | DeviceUseView]


class Health(TypedDict):
    """Whether the pool works. Needs no token, so it says nothing about jobs."""
    message: NotRequired[str | None]
    """What is wrong and what to do, when something is."""
    nodes: int
    """Nodes in all."""
    nodes_ready: int
    """Nodes that take tasks."""
    status: str
    """`ok`, `read_only` (the journal cannot be written; running tasks go on) or `stopping`."""


class HolderView(TypedDict):
    """A task on a device."""
    # `class`: Class
    compute_thousandths: int
    """Its share of compute."""
    memory_bytes: int
    """Its share of memory."""
    partition: NotRequired[str | None]
    """Of a partition: its profile and, after `@`, its first memory slice."""
    task: str
    """The task."""
    user: str
    """Who submitted it."""


class HostAccessBody(TypedDict):
    """What of the machine itself jobs may be given. It binds everybody but administrators of the pool, who alone set it."""
    folders: NotRequired[list[HostFolderBody]]
    """What volumes, copied files, standard input and image layouts may be taken from."""
    process: NotRequired[bool]
    """Processes outside of a container, with the rights of who runs the pool: `isolation: process`."""
    root: NotRequired[bool]
    """The machine's own root as the root of containers: `image: host`."""


class HostFolderBody(TypedDict):
    """A folder of the machine with all that is below."""
    path: str
    """Its absolute path."""
    write: NotRequired[bool]
    """Whether jobs may change what is in it."""


class JobSummary(TypedDict):
    """A job in a list."""
    # `class`: Class
    devices: NotRequired[list[DeviceAsk]]
    """Devices of each task, of its first alternative."""
    elements: Counts
    """Elements by state."""
    ended_ms: NotRequired[int | None]
    """When all of it was over."""
    exit_code: NotRequired[int | None]
    """Once over: what `pond run` and `pond wait` end with. 0 when all succeeded, else the code of the first
    task that failed, 128 + its signal, or 137 for out of memory."""
    id: int
    """Its id."""
    kind: JobKind
    """What sort."""
    name: str
    """Its name; not unique."""
    nodes: NotRequired[list[str]]
    """Nodes it is on, without doubles."""
    predicted_ms: NotRequired[int | None]
    """How long each of its elements is predicted to run: its own estimate, or what earlier runs tell."""
    priority: int
    """0 to 1000 inside its queue."""
    queue: str
    """Where it is charged."""
    reason: NotRequired[str | None]
    """Why it waits, failed or was stopped, in a few words."""
    request: Amounts
    """Guaranteed to each task, of its first alternative."""
    size_max: int
    """Most tasks of an element."""
    size_min: int
    """Fewest tasks of an element that start together."""
    started_ms: NotRequired[int | None]
    """When it began to run: in the present attempt, or, once over, in the last one."""
    state: State
    """Where it stands."""
    submitted_ms: int
    """When it was submitted."""
    time_limit_ms: NotRequired[int | None]
    """How long it may run."""
    user: str
    """Who submitted it."""


class JobDetail(JobSummary):
    """A job, complete."""
    cost: NotRequired[None | CostView]
    gangs: list[GangView]
    """Its array elements; one for a plain job."""
    spec: dict[str, Any]
    """Everything that was asked for, every default filled in."""
    usage: NotRequired[None | UsageRow]


class JobPage(TypedDict):
    """A page of jobs, newest first."""
    jobs: list[JobSummary]
    """The jobs."""
    next: NotRequired[int | None]
    """`after` of the next page; absent on the last."""


class LabelBody(TypedDict):
    """Labels to set; an empty value removes one."""
    labels: dict[str, str]
    """Name to value."""


class LedgerLine(BillAmount):
    """One resource of one job in one period."""
    charge_spare_micros: int
    """Of the charge, for use beyond what was granted and for all use of `spare`."""
    # `class`: Class
    closed: bool
    """Whether it is closed: it never changes any more."""
    currency: str
    """The currency."""
    from_ms: int
    """Its first moment."""
    job: int
    """The job."""
    period: int
    """The period's number."""
    price_micros: int
    """Price of the class for a unit."""
    queue: str
    """The queue that is charged."""
    spare_price_micros: int
    """Price of `spare` for a unit."""
    to_ms: int
    """The first moment after it."""
    user: str
    """Who submitted the job."""


class LogLine(TypedDict):
    """One line of output."""
    at_ms: NotRequired[int | None]
    """When, when known."""
    line: str
    """The line without its end; bytes that are not UTF-8 are replaced."""
    missed: NotRequired[bool]
    """Output before this line is gone: it came faster than it was read here, and of a task's files the oldest go first."""
    open: NotRequired[bool]
    """More of the line is to come, in the next entry of the same task and stream."""
    stream: str
    """`stdout` or `stderr`."""
    task: str
    """The task that wrote it."""


class LoginLink(TypedDict):
    """A way to log in to the web page, once and soon."""
    path: str
    """What comes behind the server's address."""
    valid_ms: int
    """How long it can be used."""


class MailServer(TypedDict):
    """A server that takes mail."""
    ca: NotRequired[str | None]
    """Certificates (PEM) to trust beside the well-known ones."""
    domains: NotRequired[list[str]]
    """Domains that mail may go to; none: that of `from` alone."""
    # `from`: str
    host: str
    """Its name, which its certificate must have."""
    password: NotRequired[str | None]
    """The secret of the pool that holds the password. Its name begins with `POND_`, so that no job can have it."""
    port: NotRequired[int | None]
    """Its port; absent: the usual one."""
    tls: NotRequired[MailTls]
    """How the connection is protected."""
    user: NotRequired[str | None]
    """Who logs in there; absent: nobody."""


class NearView(TypedDict):
    """How near the devices of an element on one node are to each other."""
    devices: list[int]
    """Their ordinals."""
    farthest: str
    """How the two that are farthest are joined; `?`: nobody knows of some."""
    nearest: str
    """How the two that are nearest are joined, in the words of `DeviceView::links`."""
    node: str
    """The node."""


class NewSubscription(TypedDict):
    """A subscription that was just made."""
    secret: NotRequired[str | None]
    """What the signatures of its webhook are verified with, as Standard Webhooks writes it: `whsec_…`. Shown this once."""
    subscription: SubscriptionView
    """It."""


class TokenView(TypedDict):
    """A token that exists; its secret is kept only as a hash."""
    created_ms: int
    """When it was made."""
    expires_ms: NotRequired[int | None]
    """When it ends."""
    name: str
    """Its name."""
    scope: Scope
    """The most it allows."""
    user: str
    """The user it stands for."""


class NewToken(TokenView):
    """A new token. The only time its secret is shown."""
    secret: str
    """What goes behind `authorization: bearer`."""


class NodeUsage(TypedDict):
    """One node's CPU, or one device's time, since it joined. `capacity = granted + idle + planned + down`, `granted = used_within + waste`,
    `used = used_within + burst`: exactly."""
    burst: int
    """Used beyond what was granted."""
    capacity: int
    """All of it."""
    device: NotRequired[int | None]
    """Ordinal of the device; absent: CPU."""
    down: int
    """Free, and could not have been granted."""
    granted: int
    """Granted to tasks that ran."""
    idle: int
    """Free, and could have been granted."""
    node: str
    """The node."""
    planned: int
    """Set aside for tasks that did not run yet."""
    used_within: int
    """Of `granted`, what was used."""
    waste: int
    """Of `granted`, what was not used, or is not yet known to have been."""


class NodeView(TypedDict):
    """A machine."""
    busy_cpu_milli: int
    """CPU really used by guaranteed tasks, 95th percentile, thousandths of a core."""
    capacity: Amounts
    """What it may give out."""
    devices: list[DeviceView]
    """Its devices."""
    gangs: list[str]
    """Gangs that have a task here."""
    granted: Amounts
    """Guaranteed to tasks."""
    labels: dict[str, str]
    """Its labels."""
    name: str
    """Its name."""
    spare_cpu_milli: int
    """CPU asked by `spare` tasks here, thousandths of a core."""
    state: str
    """`ready`, `draining`, `suspect` or `lost`."""


class NotifySettings(TypedDict):
    """How a pool tells."""
    allow: NotRequired[list[str]]
    """Networks beside the public internet that webhooks may go to, as `10.1.0.0/16`; there, and only there, without TLS."""
    mail: NotRequired[None | MailServer]
    token_ms: NotRequired[int]
    """A token that ends within so long ends soon. Seven days unless set; 0: never."""
    url: NotRequired[str | None]
    """Where people find this pool's pages: `https://pond.example.org`. Messages then link there."""
    waiting_ms: NotRequired[int]
    """A job that has waited for so long waits for long. An hour unless set; 0: never."""


class PassedView(TypedDict):
    """A gang that came later and has a place already."""
    at_ms: int
    """When it got its place."""
    because: str
    """Why it went first."""
    gang: str
    """Which."""


class PasswordBody(TypedDict):
    """A new password."""
    current: NotRequired[str | None]
    """The one before: needed by those who change their own and administer nothing."""
    new: str
    """The new one, 10 characters at least."""


class PastView(TypedDict):
    """A decision that was carried out."""
    at_ms: int
    """When."""
    text: str
    """What and why, for people."""
    what: str
    """`place`, `grow`, `shrink`, `preempt`, `freeze`, `thaw`, `limit` or `hold`."""


class PlacementView(TypedDict):
    """One rank's place."""
    devices: list[GrantView]
    """Devices."""
    node: str
    """The node."""
    rank: int
    """The rank."""


class PoolAmount(TypedDict):
    """One resource of all machines. `capacity = granted + idle + planned + down`."""
    capacity_micro_hours: int
    """All there was."""
    down_micro_hours: int
    """Free, and could not have been granted."""
    granted_micro_hours: int
    """Granted to tasks that ran."""
    idle_micro_hours: int
    """Free, and could have been granted."""
    idle_micros: int
    """What the idle part would have cost at the price of class `standard`."""
    model: NotRequired[str | None]
    """The device's model name."""
    planned_micro_hours: int
    """Set aside for tasks that did not run yet."""
    resource: str
    """`cpu`, `memory`, `disk`, `gpu`, `fpga`, `npu` or `opencl`."""
    unit: str
    """`core-hour`, `GiB-hour` or `device-hour`."""


class PortView(TypedDict):
    """A forwarded port."""
    container: int
    """Inside the task."""
    host: int
    """On the node's loopback."""


class PredictionView(TypedDict):
    """How predicted run times came out, of jobs that succeeded."""
    compared: int
    """The last ones, at most 512."""
    longer: int
    """Of these, those that ran longer than predicted."""
    median_error_percent: NotRequired[int | None]
    """Half of them were wrong by less, in hundredths of the prediction, long or short."""


class Preview(TypedDict):
    """What would happen to a job if it were submitted now."""
    evicts: list[str]
    """Gangs that would be evicted for it."""
    placement: list[PlacementView]
    """Where its first element would run now; empty when it would wait."""
    price: NotRequired[None | EstimateView]
    runs: NotRequired[None | RunsView]
    spec: dict[str, Any]
    """The job as it would be submitted, every default filled in."""
    warnings: NotRequired[list[str]]
    """What was read but cannot be honoured."""
    why: NotRequired[None | WhyView]


class PriceBody(TypedDict):
    """One price to be set."""
    # `class`: NotRequired[None | Class]
    from_ms: NotRequired[int | None]
    """From when on: now, or a moment to come."""
    micros: int
    """For an hour of a core, a gibibyte or a whole device."""
    model: NotRequired[str | None]
    """Words of the device's model name: `H100`."""
    resource: str
    """`cpu`, `memory`, `disk`, `gpu`, `fpga`, `npu` or `opencl`."""
    to_ms: NotRequired[int | None]
    """Until when."""


class PriceView(TypedDict):
    """One price."""
    # `class`: NotRequired[None | Class]
    from_ms: int
    """From this moment on."""
    holds: bool
    """Whether it holds now."""
    id: int
    """Counts up from 1."""
    micros: int
    """For one `unit`."""
    model: NotRequired[str | None]
    """Words of the device's model name; absent: any model."""
    replaced_by: NotRequired[int | None]
    """The price for the same that began later and counts instead of it now."""
    resource: str
    """`cpu`, `memory`, `disk`, `gpu`, `fpga`, `npu` or `opencl`."""
    to_ms: NotRequired[int | None]
    """Until this moment."""
    unit: str
    """`core-hour`, `GiB-hour` or `device-hour`."""


class PricesBody(TypedDict):
    """Prices to be set, all of them or none."""
    currency: NotRequired[str | None]
    """The currency of all amounts, three capital letters. It cannot change any more once something was charged."""
    prices: list[PriceBody]
    """What is added to the sheet."""


class PricesView(TypedDict):
    """The price sheet."""
    currency: str
    """Three letters; those of ISO 4217 for no currency while none was set."""
    prices: list[PriceView]
    """In the order in which they were set."""


class Problem(TypedDict):
    """An error (RFC 9457), with what a person needs to go on."""
    code: str
    """A word that programs can rely on: `no_such_job`, `bad_file`, `read_only`, ..."""
    message: str
    """What is wrong, one sentence."""
    next: NotRequired[str | None]
    """What to do about it."""
    status: int
    """The HTTP status again."""
    where: NotRequired[str | None]
    """Where: `line 6 column 3` of the job file, a parameter, a field."""


class ProjectView(TypedDict):
    """A project: a queue with people."""
    members: dict[str, Role]
    """Who has a role given here itself. Those with a role above have it here too."""
    path: str
    """The path of its queue; empty: the pool."""
    role: NotRequired[None | Role]


class QueueAmounts(TypedDict):
    """Amounts of a queue's guarantee or limit; what is absent is not guaranteed, or not limited."""
    cpu_milli: NotRequired[int | None]
    """Thousandths of a core."""
    device_thousandths: NotRequired[dict[str, int]]
    """Thousandths of a device by kind (`gpu`)."""
    disk_bytes: NotRequired[int | None]
    """Disk."""
    memory_bytes: NotRequired[int | None]
    """Memory."""
    running: NotRequired[int | None]
    """Gangs that may run at once."""


class QueueBody(TypedDict):
    """What is set of a queue."""
    borrow: NotRequired[bool]
    """Whether it may use more than its guarantee while others leave it."""
    guarantee: NotRequired[QueueAmounts]
    host: NotRequired[None | HostAccessBody]
    limit: NotRequired[QueueAmounts]
    oversubscribe: NotRequired[bool]
    """Whether its shares of devices may use memory beyond what they are guaranteed."""
    weight: NotRequired[int]
    """Its part of what is above all guarantees, at least 1."""


class QueueTrial(TypedDict):
    """What a change of a queue would do, by the next plan."""
    affected: list[Affected]
    """Who is affected, the worst first, at most 200."""
    after: QueueBody
    """What would be set."""
    before: NotRequired[None | QueueBody]
    more: int
    """More that are not listed."""
    over: list[str]
    """In what it would hold more than its limit: `cpu`, `memory`, `disk`, `running`, `gpu`, ... What runs stays; nothing
    more of it starts."""
    path: str
    """Which queue."""


class QueueView(TypedDict):
    """A queue with what it holds."""
    history: int
    """Decayed history of use: dominant share in millionths times seconds."""
    host: HostAccessBody
    """What of the machine itself its jobs may be given, by this queue's own setting or by that of one above."""
    infeasible: int
    """Elements that wait for a place that cannot come free, of it and all below."""
    path: str
    """Its path in the tree; the root's is empty."""
    settings: QueueBody
    """What is set."""
    used: QueueAmounts
    """Held by it and all below."""
    waiting: int
    """Elements that wait, of it and all below."""


class ResizeBody(TypedDict):
    """New limits of a job. What is absent stays."""
    cpu_burst_milli: NotRequired[int | None]
    """Most CPU; absent and `cpu_milli` present: the same."""
    cpu_milli: NotRequired[int | None]
    """Guaranteed CPU, thousandths of a core."""
    devices: NotRequired[list[DeviceResize]]
    """New terms of its shares of devices, an entry a kind."""
    disk_burst_bytes: NotRequired[int | None]
    """Most disk."""
    disk_bytes: NotRequired[int | None]
    """Guaranteed disk."""
    index: NotRequired[int | None]
    """One array element; absent: all of them."""
    memory_burst_bytes: NotRequired[int | None]
    """Most memory."""
    memory_bytes: NotRequired[int | None]
    """Guaranteed memory."""


class RoleBody(TypedDict):
    """A role to give or, without one, to take away."""
    project: NotRequired[str]
    """In which project, by the path of its queue; empty: in the pool."""
    role: NotRequired[None | Role]
    user: str
    """Whose."""


class RoleView(TypedDict):
    """A role that somebody has."""
    project: str
    """Where, and in all below; empty: in the pool."""
    role: Role
    """Which."""
    source: str
    """`hand`: an administrator gave it. `group`: a group of the identity provider did."""
    user: str
    """Who."""


class RunsView(TypedDict):
    """How long jobs like one ran before: of the same user, queue, name, program, size and devices."""
    earlier: int
    """So many, the last 20 at most."""
    from_ms: int
    """Nine in ten took at least this long."""
    to_ms: int
    """Nine in ten took at most this long."""


class SampleSeries(TypedDict):
    """Use of a job's tasks over the whole of its present or last attempt, as far as this server saw it."""
    tasks: list[TaskSamples]
    """One a task, by its id."""


class SchedulerBody(TypedDict):
    """How the pool is to decide."""
    placement: NotRequired[str | None]
    """Who scores the nodes that fit: `pack`, `spread`, `topology`, `best_fit`, `dot_product`, `gpu_clustering`, `gpu_packing`,
    `fgd`, `gaps`, `random`; absent: as it is."""
    policy: NotRequired[str | None]
    """A policy by its name (`pond sched policies`), with `+none`, `+easy`, `+conservative` or `+greedy` behind it for who may pass
    a blocked job; absent: as it is. With neither of the two the pool decides as it was started."""


class SchedulerView(TypedDict):
    """How the pool decides."""
    forecasts: ForecastView
    """How predicted starts came out."""
    plans: int
    """Plans made since the server started."""
    policy: NotRequired[str | None]
    """The policy that was chosen; absent: as the pool was started, which is `fair`."""
    predictions: PredictionView
    """How predicted run times came out."""
    settings: dict[str, Any]
    """The planner's settings, as `pond_core::snapshot::Settings` writes them."""
    violations: int
    """Rules that plans broke; 0, or there is a bug."""


class Scope(TypedDict):
    """The most that a token allows, whatever its user may."""
    project: NotRequired[str]
    """Only this queue and those below; empty: the pool."""
    role: Role
    """No role above this counts."""


class SecretBody(TypedDict):
    """The value of a secret, on its way in."""
    value: str
    """The value, at most 64 KiB."""


class SecretView(TypedDict):
    """A secret's name; values are never given back."""
    name: str
    """Its name, which is the variable's name inside tasks."""
    updated_ms: int
    """When it was set last."""


class ShutdownBody(TypedDict):
    """How to shut down."""
    keep: NotRequired[bool]
    """Leave tasks running; the next server adopts them. Otherwise they are stopped first."""


class SigningKey(TypedDict):
    """A key."""
    secret: str
    """`whsec_…`."""


class StatusView(TypedDict):
    """The pool in one object: what `status` shows."""
    burst_cpu_milli: NotRequired[int]
    """CPU really used beyond what was granted, and by `spare` tasks, at their last samples, thousandths of a core."""
    busy_cpu_milli: int
    """CPU really used by guaranteed tasks, thousandths of a core."""
    capacity: Amounts
    """What all nodes may give out."""
    devices: int
    """Devices in all, whole."""
    devices_granted_thousandths: int
    """Devices granted, in thousandths."""
    down: Amounts
    """On nodes that are suspect or lost."""
    elements: dict[str, int]
    """Elements of jobs that are not over, by state."""
    granted: Amounts
    """Guaranteed to tasks."""
    health: Health
    """As `health` says."""
    over: dict[str, int]
    """Jobs that are over, by state."""
    used_memory_bytes: NotRequired[int]
    """Memory really used by tasks, at their last samples."""
    waiting: NotRequired[dict[str, int]]
    """Elements that wait, by the word of their reason (docs/why.md)."""


class Submitted(TypedDict):
    """A job was taken in."""
    job: JobSummary
    """The new job, or the one this idempotency key already made."""
    warnings: NotRequired[list[str]]
    """What was read but cannot be honoured."""


class SubscriptionBody(TypedDict):
    """Whom to tell, and what."""
    on: NotRequired[list[Topic] | None]
    """What; absent: what is usual. None: only jobs that name the subscription in their `notify:`."""
    project: NotRequired[str | None]
    """Everything of this project and those below; the empty path is the pool. Absent: one's own jobs and tokens, and the
    budgets and machines that one sees."""
    to: str
    """`webhook:https://example.org/hook` or `email:ann@example.org`."""


class SubscriptionView(TypedDict):
    """A subscription."""
    created_ms: int
    """When it was made or changed."""
    name: str
    """Its name."""
    on: list[Topic]
    """What is told."""
    project: NotRequired[str | None]
    """Of which project; absent: of its user's own."""
    to: str
    """Where messages go. Of the webhooks of others only the host is shown: what follows may be a secret."""
    user: str
    """Whose."""


class TaskSamples(TypedDict):
    """Use of one task. At most 256 points; when there are more, two become one."""
    at_ms: list[int]
    """When each point ends, oldest first."""
    cpu_milli: list[int]
    """CPU from the point before to this one, thousandths of a core."""
    memory_bytes: list[int]
    """The most memory at any sample of it."""
    task: str
    """The task."""


class TaskUse(TypedDict):
    """Use of a task at its last sample."""
    cpu_milli: int
    """CPU over the last interval, in thousandths of a core."""
    disk_bytes: int
    """Writable layer."""
    memory_bytes: int
    """Memory."""
    pids: int
    """Processes and threads."""


class TaskView(TypedDict):
    """One task: a rank of an array element."""
    address: NotRequired[str | None]
    """Its address on that node, when it has one."""
    burst: Amounts
    """The most it may use."""
    devices: NotRequired[list[GrantView]]
    """Devices granted."""
    ended_ms: NotRequired[int | None]
    """When it ended."""
    exit: NotRequired[None | ExitView]
    id: str
    """Its id: `12`, `12.3`, `12[7].3`."""
    node: str
    """The node."""
    ports: NotRequired[list[PortView]]
    """Ports reachable on the node's loopback."""
    progress: NotRequired[str | None]
    """The present step of a slow start."""
    rank: int
    """Its rank."""
    request: Amounts
    """Guaranteed."""
    squeezed_cpu_milli: NotRequired[int | None]
    """Its CPU limit while it is squeezed, in thousandths of a core."""
    started_ms: NotRequired[int | None]
    """When it started."""
    state: State
    """Where it stands."""
    use_now: NotRequired[None | TaskUse]


class TokenBody(TypedDict):
    """A token to make."""
    scope: NotRequired[Scope]
    """The most it allows of what its user may; absent: all of it."""
    user: NotRequired[str | None]
    """The user it stands for; absent: the caller."""
    valid_ms: NotRequired[int | None]
    """How long it lasts; absent: until it is revoked."""


class UnwellView(TypedDict):
    """A device that is not granted for how it is."""
    because: NotRequired[str | None]
    """What was told of it."""
    device: int
    """Its ordinal there."""
    health: str
    """How it is, as `DeviceView::health` says it."""
    node: str
    """Its node."""
    since_ms: NotRequired[int | None]
    """When it stopped being healthy."""


class UsageReport(TypedDict):
    """The meter."""
    at_ms: int
    """The moment the meter stands at."""
    devices: NotRequired[list[NodeUsage]]
    """Time of each device, in thousandths of it × milliseconds. Of those that nobody measures all that was granted to
    tasks that ran counts as used."""
    nodes: list[NodeUsage]
    """CPU of each node, in thousandths of a core × milliseconds."""
    rows: list[UsageRow]
    """One a queue, user or job."""


class UsageRow(TypedDict):
    """What one queue, user or job is charged for. Amounts times time, in the units of each name."""
    burst_cpu_milli_ms: int
    """CPU at the rate of `spare`, used above what was granted: thousandths of a core × milliseconds."""
    burst_device_thousandths_ms: NotRequired[int]
    """Of devices, what was used of shares beyond what was granted, and all that `spare` used: at the rate of `spare`."""
    burst_disk_mib_s: NotRequired[int]
    """Disk at the rate of `spare`, what its jobs used: mebibytes × seconds."""
    burst_memory_mib_s: NotRequired[int]
    """Memory at the rate of `spare`, what its jobs used: mebibytes × seconds."""
    credited_cpu_milli_ms: int
    """CPU of these, given back because the pool lost the work: thousandths of a core × milliseconds."""
    granted_cpu_milli_ms: int
    """CPU at the rate of its class (what was granted; of `critical` what was used, when more): thousandths of a
    core × milliseconds."""
    granted_device_thousandths_ms: int
    """Devices of all kinds at the rate of its class: thousandths × milliseconds."""
    granted_disk_mib_s: int
    """Disk at the rate of its class: mebibytes × seconds."""
    granted_memory_mib_s: int
    """Memory at the rate of its class: mebibytes × seconds."""
    key: str
    """The queue, user or job."""


class UserBody(TypedDict):
    """What is set of a user. What is absent stays as it is."""
    disabled: NotRequired[bool | None]
    """Nothing of theirs opens anything."""
    rate: NotRequired[int | None]
    """Requests a second they may send; 0: the pool's default."""


class UserView(TypedDict):
    """A user."""
    created_ms: int
    """When they were added."""
    disabled: bool
    """Nothing of theirs opens anything."""
    name: str
    """The name on jobs and in the audit log."""
    origin: str
    """`local`, or the identity provider they come from."""
    password: bool
    """Whether a password lets them in."""
    rate: NotRequired[int | None]
    """Requests a second they may send; absent: the pool's default."""
    roles: dict[str, Role]
    """Roles by project; the empty path is the pool."""


class Version(TypedDict):
    """Which program answers."""
    api: list[str]
    """Versions of the API it speaks."""
    pid: int
    """Its process."""
    started_ms: int
    """When this server started."""
    version: str
    """Version of the program."""


class WhatIfView(TypedDict):
    """One change that would help."""
    change: str
    """The change, in words."""
    start_ms: NotRequired[int | None]
    """When it would start then, when known."""


class WhoView(TypedDict):
    """Whom the token of a request stands for."""
    admin: bool
    """Whether they may administer the pool."""
    roles: NotRequired[dict[str, Role]]
    """The roles that count with this token, by project; the empty path is the pool."""
    user: str
    """The user."""


class WhyView(TypedDict):
    """Why a gang is where it is."""
    ahead: list[str]
    """Who is right before it, nearest first."""
    asked: Amounts
    """What each task asks for."""
    devices: NotRequired[list[DeviceAsk]]
    """The devices that each task asks for."""
    funnel: list[FunnelStep]
    """How many of them each constraint removed, in the order tried."""
    gang: str
    """Which gang."""
    infeasible: bool
    """Whether waiting cannot help: nothing that comes free would ever be enough."""
    needed: int
    """Tasks it needs at least."""
    nodes: int
    """Nodes in the pool."""
    passed_by: NotRequired[list[PassedView]]
    """Gangs that came later and have a place already, and why."""
    past: NotRequired[list[PastView]]
    """What was decided about it before, oldest first; at most sixteen."""
    placeable: int
    """Tasks of it that could be placed now."""
    position: int
    """Its place in line from 1; 0 when placed."""
    predicted_earliest_ms: NotRequired[int | None]
    """The earliest and latest moment at which it starts, if this forecast errs as eight of ten did before; absent while
    fewer than ten were compared."""
    predicted_latest_ms: NotRequired[int | None]
    """See `predicted_earliest_ms`."""
    predicted_start_ms: NotRequired[int | None]
    """When it is predicted to start."""
    reason: NotRequired[Any]
    """The typed reason: a word of docs/why.md, or an object with that word as its only key. A budget has `queue`, `spent_micros`,
    `limit_micros`, `currency`, and `until_ms` when a next span begins; `reserved` and `backoff` have `until_ms` when it is known."""
    sentence: str
    """One sentence with arithmetic and advice."""
    tasks: NotRequired[int]
    """Tasks that start together, the fewest that will do."""
    unwell: NotRequired[list[UnwellView]]
    """Devices of the sorts it asks for that are not granted now, for how they are; at most eight."""
    verdict: str
    """`placed`, `waiting`, `needs_you`, `needs_admin` or `over`."""
    what_ifs: list[WhatIfView]
    """Changes that would help, best first."""
