"""What schemathesis cannot guess: names of things that are there, and an archive."""

import io
import os
import tarfile

import schemathesis

# Every second request names one of these; the others, what schemathesis makes up.
THERE = {
    "/jobs/": [int(job) for job in os.environ["POND_JOBS"].split(",")],
    "/tasks/": [f"{job}/0.0" for job in os.environ["POND_JOBS"].split(",")],
    "/nodes/": [os.environ["POND_NODE"]],
    "/queues/": ["default"],
    "/budgets/": ["default"],
    "/users/": [os.environ["POND_USER"]],
    "/secrets/": ["TOKEN"],
}
turn = 0


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    global turn
    turn += 1
    if path_parameters and turn % 2:
        path = context.operation.path
        for part, there in THERE.items():
            if part in path:
                name = next(iter(path_parameters))
                path_parameters = {**path_parameters, name: there[turn // 2 % len(there)]}
    return path_parameters


@schemathesis.hook
def before_call(context, case, kwargs):
    """A log that is followed ends with its job, and one of the two goes on."""
    if case.path.endswith("/logs") and "true" in str((case.query or {}).get("follow")).lower():
        case.query = {**case.query, "follow": "false"}


@schemathesis.serializer("application/x-tar")
def archive(context, value):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        content = str(value).encode(errors="replace")
        entry = tarfile.TarInfo("given")
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    return out.getvalue()
