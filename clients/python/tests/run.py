"""What the client is for, against a real pool. Run by tests/tests/python.rs in a place of its own, where a pool is up."""

import asyncio
import inspect

from millpond import AsyncPond, Pond, Problem
from millpond._job import _table

SMALL = {"cpu": 0.1, "memory": "32MB", "disk": "10MB"}


def a_job_runs_and_is_followed(pond):
    job = pond.run("for n in 1 2 3; do echo line $n; done", name="lines", resources=SMALL)
    detail = job.wait(timeout=60)
    assert (detail["state"], detail["exit_code"], detail["name"]) == ("succeeded", 0, "lines"), detail
    texts = [line["line"].strip() for line in job.logs(follow=True)]
    assert texts[-3:] == ["line 1", "line 2", "line 3"], texts
    assert "lines" in repr(job) and "<table>" in job._repr_html_()
    assert job.id in [one.id for one in pond.jobs(name="lines")]


def names_of_others_stay_text_in_a_notebook(pond):
    # The pool refuses such a name today; a notebook does not rely on that.
    detail = pond.run(["true"], name="plain", resources=SMALL).wait(timeout=60)
    shown = _table({**detail, "name": "x<script>y"}, detail["id"])
    assert "<script>" not in shown and "x&lt;script&gt;y" in shown, shown


def a_refusal_says_what_to_do(pond):
    for act in (lambda: pond.job(999_999).refresh(), lambda: pond.submit({"type": "task", "rnu": "x"})):
        try:
            act()
        except Problem as problem:
            assert problem.status in (404, 422, 400) and str(problem), problem
        else:
            raise AssertionError("it was not refused")


def one_key_is_one_job(pond):
    body = {"type": "task", "run": "true", "resources": SMALL}
    assert pond.submit(body, key="k1").id == pond.submit(body, key="k1").id


def money_is_in_the_answers(pond):
    pond.api.money_set_prices({"currency": "EUR", "prices": [{"resource": "cpu", "micros": 3_600_000_000}]})
    job = pond.run("sleep 1", resources=SMALL)
    job.wait(timeout=60)
    cost = job.cost()
    assert cost and cost["charge_micros"] > 0 and cost["currency"] == "EUR", cost
    bill = pond.api.money_bill(by="job", job=job.id)
    lines = sum(line["charge_micros"] - line["credit_micros"] for line in pond.ledger(job=job.id, open=True))
    assert bill["total"]["net_micros"] == lines == cost["charge_micros"], (bill, lines, cost)


def a_stopped_job_is_stopped(pond):
    job = pond.run("sleep 600", resources=SMALL)
    assert job.why()["sentence"]
    job.stop(now=True)
    assert job.wait(timeout=60)["state"] == "stopped"
    slow = pond.run("sleep 600", resources=SMALL)
    try:
        slow.wait(timeout=0.3)
    except TimeoutError:
        slow.stop(now=True)
    else:
        raise AssertionError("it did not take long enough")


async def the_same_without_blocking():
    async with AsyncPond() as pond:
        jobs = await asyncio.gather(*(pond.run(["echo", str(n)], resources=SMALL) for n in range(3)))
        details = await asyncio.gather(*(job.wait(timeout=60) for job in jobs))
        assert all(detail["state"] == "succeeded" for detail in details), details
        texts = [line["line"].strip() async for line in jobs[2].logs()]
        assert texts == ["2"], texts
        assert (await pond.api.pool_status())["capacity"]["cpu_milli"] > 0, "there is a node"


def main():
    with Pond() as pond:
        for test in (
            a_job_runs_and_is_followed, names_of_others_stay_text_in_a_notebook, a_refusal_says_what_to_do, one_key_is_one_job,
            money_is_in_the_answers, a_stopped_job_is_stopped,
        ):
            test(pond)
            print(f"{test.__name__}: ok")
        # Every operation is a method of both.
        both = [{name for name, _ in inspect.getmembers(kind, inspect.isfunction)} for kind in (type(pond.api), type(AsyncPond().api))]
        assert both[0] == both[1] and len(both[0]) > 40, len(both[0])
    asyncio.run(the_same_without_blocking())
    print("the_same_without_blocking: ok")


if __name__ == "__main__":
    main()
