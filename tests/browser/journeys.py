"""Errands of people, carried out in Chromium against a real pool.

Run by tests/tests/browser.rs in a place of its own, with `pond` on the path. Each function whose name begins with `errand_` is one; they
run in order and share the pool. An error of the page itself (an exception, a refusal by its content policy) fails the errand it
happened in. With POND_PICTURES set to a folder, pictures of every page are put there.
"""

import base64
import hmac
import http.server
import io
import json
import os
import re
import subprocess
import sys
import threading
import time
import traceback

from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import expect, sync_playwright

CHROMIUM = os.environ["POND_CHROMIUM"]
PAGES = ["/", "/map", "/queue", "/envs", "/usage", "/capacity", "/scheduler", "/notify", "/admin"]


def pond(*words, ok=True):
    done = subprocess.run(["pond", *words], capture_output=True, text=True)
    assert not ok or done.returncode == 0, f"pond {words}: {done.stdout}{done.stderr}"
    return done.stdout.strip()


def submit(name, run, token=None, **more):
    """Submits a job file, as somebody else with their token, and gives the job's number."""
    job = {"type": "task", "name": name, "run": run, "resources": {"cpu": 0.1, "memory": "32MB", "disk": "10MB"}} | more
    with open("job.pond.yaml", "w") as file:
        json.dump(job, file)
    who = os.environ | ({"POND_TOKEN": token} if token else {})
    done = subprocess.run(["pond", "apply", "-y", "job.pond.yaml"], capture_output=True, text=True, env=who)
    # What can never run is taken in, and said by code 75.
    assert done.returncode in (0, 75), done.stdout + done.stderr
    return int(re.search(rf"(\d+) {re.escape(name)} submitted", done.stdout + done.stderr)[1])


def until(what, done, seconds=30):
    end = time.monotonic() + seconds
    while not (found := done()):
        assert time.monotonic() < end, f"in vain: {what}"
        time.sleep(0.05)
    return found


def state(job):
    return json.loads(pond("status", str(job), "--json"))["state"]


def await_state(job, wanted):
    until(f"job {job} is {wanted}", lambda: state(job) == wanted)


class World:
    """One browser, one pool, and what errands tell each other."""

    def __init__(self, browser):
        self.browser = browser
        self.errors = []
        self.cores = json.loads(pond("status", "--json"))["capacity"]["cpu_milli"] / 1000
        self.page = self.log_in()
        self.base = re.match(r"https?://[^/]+", self.page.url)[0]

    def fresh(self, **more):
        context = self.browser.new_context(viewport={"width": 1280, "height": 900}, **more)
        context.set_default_timeout(15_000)
        page = context.new_page()
        page.on("pageerror", lambda error: self.errors.append(f"{page.url}: {error}"))
        # A refused form and a missing page are answers, and the browser logs them as errors of its own.
        page.on("console", lambda said: self.errors.append(f"{page.url}: {said.text}")
                if said.type == "error" and "Failed to load resource" not in said.text else None)
        return page

    def log_in(self, **more):
        page = self.fresh(**more)
        page.goto(pond("open"))
        page.get_by_role("button", name="Continue").click()
        expect(page.get_by_test_id("user")).to_be_visible()
        return page

    def open(self, path):
        self.page.goto(self.base + path)
        return self.page


def errand_a_link_opens_the_page_once(world):
    page = world.fresh()
    link = pond("open")
    page.goto(link)
    page.get_by_role("button", name="Continue").click()
    expect(page).to_have_url(world.base + "/")
    assert "code" not in page.url
    other = world.fresh()
    other.goto(link)
    other.get_by_role("button", name="Continue").click()
    expect(other.get_by_role("alert")).to_contain_text("was used")
    other.goto(world.base + "/queue")
    expect(other.get_by_test_id("login")).to_be_visible()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_test_id("login")).to_be_visible()


def errand_the_first_job_is_followed_from_an_empty_pool_to_its_bill(world):
    page = world.open("/")
    expect(page.get_by_text("No job yet")).to_be_visible()
    expect(page.locator(".copy code", has_text="pond run -- echo hello")).to_be_visible()
    job = submit("first-steps", "echo it has begun; while [ ! -e /tmp/go ]; do sleep 0.1; done; echo it is done")
    world.first = job
    # Without a reload: the page follows.
    page.get_by_role("link", name="first-steps").click()
    expect(page.get_by_test_id("state").first).to_contain_text("running")
    expect(page.get_by_test_id("timeline")).to_contain_text("starting → running")
    page.get_by_role("link", name="Output").click()
    expect(page.get_by_test_id("log")).to_contain_text("it has begun")
    # The end that it brings about may cut it off.
    pond("exec", str(job), "--", "touch", "/tmp/go", ok=False)
    expect(page.get_by_test_id("log")).to_contain_text("it is done")
    page.get_by_role("link", name="Overview").click()
    expect(page.get_by_test_id("state").first).to_contain_text("succeeded")
    expect(page.get_by_test_id("why")).to_contain_text("Over.")
    expect(page.get_by_test_id("charged")).to_contain_text("core-hours")
    page = world.open("/usage?by=job")
    expect(page.get_by_test_id("usage").get_by_role("link", name=str(job), exact=True)).to_be_visible()


def errand_why_a_job_waits_and_what_would_change_it(world):
    world.holder = submit("pretrain", "sleep 1000", time_limit="2h", resources={"cpu": world.cores * 3 / 4, "memory": "64MB", "disk": "10MB"})
    await_state(world.holder, "running")
    world.waiter = submit("finetune", "sleep 1", resources={"cpu": world.cores / 2, "memory": "64MB", "disk": "10MB"})
    await_state(world.waiter, "waiting")
    page = world.open(f"/jobs/{world.waiter}")
    why = page.get_by_test_id("why")
    expect(why).to_contain_text("Waiting.")
    expect(why).to_contain_text("too little CPU")
    expect(page.get_by_test_id("funnel")).to_contain_text("−1")
    # The one that holds the room says how long it may run, so a start can be foretold.
    expect(page.get_by_test_id("predicted")).to_contain_text("in 1h59m")
    expect(page.get_by_test_id("what-ifs")).to_contain_text(re.compile(r"cores instead of .*now", re.S))
    page = world.open("/")
    expect(page.get_by_test_id("reasons")).to_contain_text(re.compile("waits? for room"))


def errand_what_can_never_run_asks_for_its_owner(world):
    job = submit("too-large", "true", resources={"cpu": world.cores * 4, "memory": "32MB"})
    page = world.open("/")
    page.get_by_test_id("needs-you").get_by_role("link", name="too-large").click()
    expect(page.get_by_test_id("why")).to_contain_text("Needs you.")
    page.once("dialog", lambda dialog: dialog.dismiss())
    page.get_by_role("button", name="Stop").click()
    assert state(job) == "infeasible", "it was stopped without consent"
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_test_id("state").first).to_contain_text("stopped")
    assert state(job) == "stopped"


def errand_a_job_is_paused_and_goes_on(world):
    page = world.open(f"/jobs/{world.holder}")
    page.get_by_role("button", name="Pause", exact=True).click()
    expect(page.get_by_role("button", name="Resume")).to_be_visible()
    await_state(world.holder, "frozen")
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_test_id("state").first).to_contain_text("running")


def errand_an_administrator_sets_a_limit_and_lifts_it(world):
    page = world.open("/admin")
    form = page.locator("#queue-form")
    form.get_by_label("Path").fill("students")
    form.locator("[name=limit_cpu]").fill("0.1")
    form.get_by_role("button", name="Make the queue").click()
    expect(page.get_by_test_id("queues")).to_contain_text("students")
    pond("stop", "--now", str(world.holder))
    pond("wait", str(world.waiter))
    first = submit("homework", "sleep 1000", project="students")
    await_state(first, "running")
    second = submit("homework-2", "sleep 1000", project="students")
    page = world.open(f"/jobs/{second}")
    expect(page.get_by_test_id("why")).to_contain_text("students")
    expect(page.get_by_test_id("reason")).to_contain_text("CPU limit")
    page = world.open("/admin?queue=students")
    page.locator("[name=limit_cpu]").fill("1")
    page.get_by_test_id("try-queue").click()
    expect(page.get_by_test_id("trial")).to_contain_text("homework-2")
    assert state(second) == "waiting", "a trial changes nothing"
    page.locator("[name=limit_cpu]").fill("1")
    page.get_by_role("button", name="Change the queue").click()
    await_state(second, "running")
    pond("stop", "--now", str(first), str(second))


def send(form, choose=(), **fields):
    """Fills fields of a form by their names, chooses options, and sends it."""
    for name, value in dict(choose).items():
        form.locator(f"[name={name}]").select_option(value)
    for name, value in fields.items():
        form.locator(f"[name={name}]").fill(value)
    form.get_by_role("button").click()


def errand_an_administrator_sets_a_price_and_a_budget_that_stops_a_job(world):
    job = submit("thesis", "sleep 1000", project="students")
    await_state(job, "running")
    page = world.open("/usage")
    price = page.get_by_test_id("set-price")
    send(price, {"resource": "cpu", "class": "standard"}, currency="EUR", amount="a lot")
    # Said in the form, which is as it was.
    expect(price.get_by_role("alert")).to_contain_text("`a lot` is not an amount of money")
    expect(price.locator("[name=currency]")).to_have_value("EUR")
    expect(price.locator("[name=class]")).to_have_value("standard")
    send(price, amount="3600.50", **{"from": "2001-02-30"})
    expect(price.get_by_role("alert")).to_contain_text("is not a moment")
    send(price, **{"from": "", "to": "2001-02-03"})
    expect(price.get_by_role("alert")).to_be_visible()
    expect(price.locator("[name=to]")).to_have_value("2001-02-03")
    send(price, to="2099-12-31 18:00")
    expect(page.get_by_test_id("prices")).to_contain_text("3600.50 EUR")
    expect(page.get_by_test_id("prices")).to_contain_text("2099-12-31 18:00:00")
    budget = page.get_by_test_id("set-budget")
    send(budget, {"span": "total", "stop": "end"}, queue="studens", amount="0.50")
    expect(budget.get_by_role("alert")).to_contain_text("studens")
    expect(budget.locator("[name=stop]")).to_have_value("end")
    send(budget, queue="students")
    expect(page.get_by_test_id("budgets")).to_contain_text("0.50 EUR")
    # A tenth of a core costs ten cents a second: after five of them the job is ended.
    until("the job is ended", lambda: state(job) == "stopped", 60)
    page = world.open(f"/jobs/{job}")
    expect(page.get_by_test_id("state").first).to_contain_text("stopped")
    expect(page.get_by_test_id("timeline")).to_contain_text("budget")
    page = world.open("/admin")
    expect(page.get_by_test_id("audit")).to_contain_text("asked to set the budget of students to 0.50")
    page = world.open("/usage")
    expect(page.get_by_test_id("budgets")).to_contain_text("spent: jobs wait")
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Remove the budget of /students").click()
    expect(page.get_by_test_id("budgets")).to_have_count(0)
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="End price").click()
    expect(page.get_by_test_id("prices")).to_have_count(0)


PASSWORD = "correct horse battery"


def person(world, name, role, project, **more):
    """Somebody with a role in a project, logged in with a password."""
    pond("user", "add", name)
    subprocess.run(["pond", "user", "password", name], input=PASSWORD, text=True, check=True, capture_output=True)
    pond("project", "grant", project, name, role)
    page = world.fresh(**more)
    page.goto(world.base + "/login")
    by_password = page.get_by_test_id("by-password")
    by_password.get_by_label("User").fill(name)
    by_password.get_by_label("Password").fill(PASSWORD)
    by_password.get_by_role("button").click()
    expect(page.get_by_test_id("user")).to_have_text(name)
    return page


def errand_a_projects_administrator_bounds_what_is_below_without_scripts(world):
    pond("queue", "set", "students/thesis")
    ben = person(world, "ben", "admin", "students", java_script_enabled=False)
    ben.goto(world.base + "/usage")
    expect(ben.get_by_test_id("set-price")).to_have_count(0)
    form = ben.get_by_test_id("set-budget")
    send(form, queue="students", amount="5")
    expect(form.get_by_role("alert")).to_contain_text("only an administrator of the pool may do this")
    send(form, queue="students/thesis", alerts="ninety")
    expect(form.get_by_role("alert")).to_contain_text("`ninety` is no list of percentages")
    expect(form.locator("[name=amount]")).to_have_value("5")
    send(form, alerts="50, 90")
    budgets = ben.get_by_test_id("budgets")
    expect(budgets.get_by_role("row", name="students/thesis")).to_contain_text("50 %, 90 %")
    ben.get_by_role("button", name="Remove the budget of /students/thesis").click()
    expect(budgets).to_have_count(0)


class Receiver:
    """Takes webhooks on the loopback: answers 204 to what its key verifies, and 401 to all else."""

    def __init__(self):
        self.key, self.taken, receiver = "", [], self

        class Hook(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                known = receiver.verifies(self.headers, body)
                if known:
                    receiver.taken.append(json.loads(body))
                self.send_response(204 if known else 401)
                self.end_headers()

            def log_message(self, *words):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def verifies(self, headers, body):
        """As Standard Webhooks say, with nothing of the pool's own."""
        key = base64.b64decode(self.key.removeprefix("whsec_"))
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        good = "v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
        return hmac.compare_digest(good, headers["webhook-signature"])

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def errand_a_user_subscribes_and_a_receiver_of_theirs_is_told(world):
    receiver = Receiver()
    hook = f"webhook:http://127.0.0.1:{receiver.server.server_port}/hook"
    cem = person(world, "cem", "member", "students")

    def subscribe():
        cem.goto(world.base + "/notify")
        form = cem.get_by_test_id("subscribe")
        form.get_by_label("a job succeeded").check()
        send(form, name="desk", to=hook)

    # The machine's own network is closed to webhooks until an administrator opens it.
    subscribe()
    expect(cem.get_by_test_id("error")).to_contain_text("127.0.0.1 is not on the public internet")
    page = world.open("/notify")
    send(page.get_by_test_id("notify-settings"), allow="127.0.0.1")
    expect(page.get_by_test_id("notify-settings").locator("[name=allow]")).to_have_value(re.compile(r"^127\.0\.0\.1"))
    subscribe()
    secret = cem.get_by_test_id("new-subscription").locator("code").inner_text()
    assert secret.startswith("whsec_"), secret
    cem.goto(world.base + "/notify")
    expect(cem.locator("main")).not_to_contain_text(secret)
    messages = cem.get_by_test_id("deliveries").get_by_role("row")
    # With another key nothing verifies, and the list says what was answered.
    receiver.key = "whsec_" + base64.b64encode(b"another").decode()
    cem.get_by_role("button", name="Send a trial to desk").click()
    trial = messages.filter(has_text="a trial of desk")
    expect(trial).to_be_visible()
    until("the page says how it was answered", lambda: cem.goto(world.base + "/notify") and "401" in trial.inner_text())
    assert not receiver.taken
    receiver.key = secret
    pond("queue", "set", "students", "--host", "root")
    token = pond("token", "create", "cem", "--user", "cem")
    job = submit("thesis-draft", "true", token=token, project="students")
    told = until("the receiver is told", lambda: [it for it in receiver.taken if it["type"] == "job.succeeded"])
    assert [it["data"]["job"]["id"] for it in told] == [job], told
    assert "thesis-draft succeeded" in told[0]["text"], told
    row = messages.filter(has_text="thesis-draft succeeded")
    until("the page lists it as delivered", lambda: cem.goto(world.base + "/notify") and "delivered" in row.inner_text())
    expect(row).to_contain_text("204")
    row.get_by_role("link").click()
    expect(cem.locator("h1")).to_contain_text("thesis-draft")
    pond("token", "revoke", "cem")
    receiver.close()


def errand_another_user_sees_what_is_theirs(world):
    page = world.open("/admin")
    form = page.get_by_test_id("add-user")
    form.get_by_label("Name").fill("ann")
    form.get_by_role("button").click()
    expect(page.get_by_test_id("users")).to_contain_text("ann")
    form = page.get_by_test_id("set-password")
    form.get_by_label("New password").fill(PASSWORD)
    form.get_by_role("button").click()
    ann = world.fresh()

    def log_in(path):
        ann.goto(world.base + path)
        by_password = ann.get_by_test_id("by-password")
        by_password.get_by_label("User").fill("ann")
        by_password.get_by_label("Password").fill(PASSWORD)
        by_password.get_by_role("button").click()

    log_in("/")
    expect(ann.get_by_test_id("error")).to_contain_text("no role")
    form = page.get_by_test_id("set-role")
    form.get_by_label("Role").select_option("member")
    form.get_by_role("button").click()
    expect(page.get_by_test_id("projects")).to_contain_text("ann member")
    # What she wanted to see is not hers to read.
    ann.goto(f"{world.base}/jobs/{world.first}/logs")
    expect(ann.get_by_test_id("error")).to_contain_text("no role in")
    ann.goto(world.base + "/")
    expect(ann.get_by_test_id("user")).to_have_text("ann")
    expect(ann.get_by_role("link", name="Administration")).to_have_count(0)
    ann.goto(f"{world.base}/jobs/{world.first}")
    expect(ann.get_by_test_id("acts")).to_have_count(0)
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Disable ann").click()
    expect(page.get_by_test_id("users")).to_contain_text("disabled")
    ann.goto(world.base + "/queue")
    expect(ann.get_by_test_id("login")).to_be_visible()


def errand_a_token_is_made_shown_once_and_revoked(world):
    page = world.open("/admin")
    form = page.locator("form[action='/admin/tokens']")
    form.get_by_label("Name").fill("laptop")
    form.get_by_label("At most").select_option("viewer")
    form.get_by_role("button").click()
    secret = page.get_by_test_id("new-token").locator("code").inner_text()
    guest = world.fresh()
    guest.goto(f"{world.base}/jobs/{world.first}")
    by_token = guest.get_by_test_id("by-token")
    by_token.get_by_label("Token").fill(secret)
    by_token.get_by_role("button").click()
    expect(guest.locator("h1")).to_contain_text(str(world.first))
    expect(guest.get_by_role("link", name="Administration")).to_have_count(0)
    page = world.open("/admin")
    expect(page.locator("main")).not_to_contain_text(secret)
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Revoke token laptop").click()
    expect(page.get_by_test_id("tokens")).to_have_count(0)
    guest.goto(world.base + "/queue")
    expect(guest.get_by_test_id("login")).to_be_visible()


def errand_a_machine_is_drained_and_comes_back(world):
    page = world.open("/capacity")
    page.get_by_role("button", name=re.compile("^Drain")).click()
    expect(page.get_by_test_id("machines")).to_contain_text("draining")
    page = world.open("/")
    expect(page.get_by_test_id("needs-you")).to_contain_text("machine draining")
    page = world.open("/capacity")
    page.get_by_role("button", name=re.compile("^Take .* into service")).click()
    expect(page.get_by_test_id("machines")).to_contain_text("ready")


def errand_the_keyboard_is_enough(world):
    page = world.open("/")
    page.keyboard.press("g")
    page.keyboard.press("q")
    page.wait_for_url("**/queue")
    world.open("/queue?state=all")
    page.keyboard.press("/")
    page.keyboard.type("first-steps")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("job-row")).to_have_count(1)
    page.locator("h1").click()
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/jobs/{world.first}")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).not_to_be_visible()
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.keyboard.press("t")
    assert page.evaluate(ground) != light
    page.reload()
    assert page.evaluate(ground) != light, "the theme is forgotten"
    page.keyboard.press("t")
    assert page.evaluate(ground) == light


def devices(nodes, each):
    users = ["ann", "bo", "cy", "di"]
    classes = ["critical", "standard", "spare"]
    def chip(n, d):
        busy = (n * 7 + d) % 3
        return {"m": "gpu H100", "h": (n + d) % 97 != 0, "u": [0, 500, 1000][busy],
                "w": [[f"{n}", users[(n + d) % 4], classes[d % 3], [0, 500, 1000][busy]]] if busy else []}
    return [{"n": f"n{n:04}", "s": "draining" if n % 50 == 7 else "ready", "c": [32000, 20000, 64000], "g": [str(n)],
             "d": [chip(n, d) for d in range(each)]} for n in range(nodes)]


def errand_the_map_says_who_is_where(world):
    job = submit("on-the-map", "sleep 1000")
    await_state(job, "running")
    page = world.open("/map")
    canvas = page.locator("canvas")
    canvas.focus()
    page.keyboard.press("ArrowRight")
    who = page.locator("[data-who]")
    expect(who.get_by_role("link", name=str(job), exact=True)).to_be_visible()
    there = page.url
    assert "#" in there
    page.reload()
    expect(who.get_by_role("link", name=str(job), exact=True)).to_be_visible()
    page.keyboard.press("Tab")
    who.get_by_role("link", name=str(job), exact=True).click()
    page.wait_for_url(f"**/jobs/{job}")
    pond("stop", "--now", str(job))
    for nodes in (512, 4096):
        made = json.dumps(devices(nodes, 8))
        page.route("**/map.json", lambda route: route.fulfill(body=made, content_type="application/json"))
        page.goto(world.base + "/map")
        expect(canvas).to_have_attribute("data-chips", str(nodes * 9))
        frames = []
        for by in ("owner", "class", "health", "use") * 3:
            page.locator(f"label:has([value={by}])").click()
            frames.append(float(canvas.get_attribute("data-frame-ms")))
        frames.sort()
        print(f"  map of {nodes * 8} devices: a frame takes {frames[len(frames) // 2]:.1f} ms (median of {len(frames)}), {frames[-1]:.1f} ms at the most")
        if nodes == 512:
            picture(world, page, "map-4096")
        page.unroute("**/map.json")


def errand_a_device_that_is_not_well_is_told_with_its_cause(world):
    """The last of four devices was never well: its probe says so."""
    page = world.open("/map")
    unwell = page.get_by_test_id("unwell")
    expect(unwell).to_contain_text(re.compile(r"Device 3 of .* Acme Two\s+sick .*not given out since", re.S))
    unwell.get_by_role("link").focus()
    page.keyboard.press("Enter")
    who = page.locator("[data-who]")
    expect(who).to_contain_text(re.compile(r"device 3 · npu Acme Two – sick: .*; not given out since .* UTC"))
    expect(page.locator("canvas")).to_be_focused()
    page.keyboard.press("ArrowLeft")
    expect(who).to_contain_text("device 2 · npu Acme Two – ready")
    models = world.open("/capacity").get_by_test_id("models")
    expect(models).to_contain_text(re.compile(r"npu Acme Two\s*4\s*3\s*0\s*1\s*sick: sh says that it cannot work"))
    world.unwell = submit("needs-all-four", "true", resources={"npu": 4, "cpu": 0.1, "memory": "32MB"})
    page = world.open(f"/jobs/{world.unwell}")
    expect(page.get_by_test_id("reason")).to_contain_text("waits for devices that are not well: device 3")
    why = page.get_by_test_id("why")
    expect(why.get_by_test_id("unwell")).to_contain_text("sick")
    expect(why.get_by_test_id("awaits-devices")).to_contain_text("at work again")
    why.get_by_role("link", name="Device 3 of").click()
    expect(who).to_contain_text("device 3 · npu Acme Two – sick")


def errand_how_near_devices_are_is_read_from_the_page(world):
    page = world.open("/map")
    joined = page.get_by_test_id("joined")
    expect(joined).to_contain_text(re.compile(r"NUMA node 0\s*0, 1\s*NUMA node 1\s*2, 3"))
    expect(joined.get_by_role("row", name="1 Acme Two")).to_have_text(re.compile(r"1 Acme Two\s*NODE\s*X\s*SYS\s*SYS"))
    world.near = submit("both-of-a-node", "sleep 1000", nodes=2, resources={"npu": 1, "cpu": 0.1, "memory": "32MB", "disk": "10MB"})
    await_state(world.near, "running")
    page = world.open(f"/jobs/{world.near}")
    expect(page.get_by_test_id("near")).to_contain_text("Devices 0, 1 are joined by one NUMA node (NODE).")
    pond("stop", "--now", str(world.near))


def errand_everything_is_there_without_scripts(world):
    page = world.log_in(java_script_enabled=False)
    for path in [*PAGES, f"/jobs/{world.first}", f"/jobs/{world.first}/logs", f"/jobs/{world.first}/spec"]:
        page.goto(world.base + path)
        expect(page.locator("h1")).to_be_visible()
        assert page.locator("button[data-copy]:visible, [data-help]:visible").count() == 0, f"{path} shows a button that does nothing"
    page.goto(world.base + "/map")
    expect(page.locator("#map-table").get_by_role("table")).to_be_visible()
    expect(page.get_by_test_id("unwell")).to_contain_text("not given out since")
    page.goto(f"{world.base}/jobs/{world.unwell}")
    expect(page.get_by_test_id("unwell")).to_contain_text("sick")
    job = submit("no-scripts", "sleep 1000")
    page.goto(f"{world.base}/jobs/{job}")
    page.get_by_role("button", name="Stop").click()
    await_state(job, "stopped")


OUT_OF_ITS_CARD = """[...document.querySelectorAll('.card:not(.flush) p, .card:not(.flush) li, .head p')].filter((it) => {
  const card = (it.closest('.card') ?? it.closest('.head')).getBoundingClientRect();
  const range = document.createRange();
  range.selectNodeContents(it);
  return it.checkVisibility() && !it.closest('.timeline, .scroll') && range.getBoundingClientRect().right > card.right + 1;
}).map((it) => it.textContent.slice(0, 60))"""


def errand_what_is_typed_while_a_page_is_renewed_stays(world):
    page = world.open("/queue")
    held = []
    page.route("**/queue", lambda route: held.append(route) if route.request.headers.get("hx-request") else route.continue_())
    page.evaluate("document.addEventListener('htmx:afterRequest', () => { window.renewed = true; })")
    with page.expect_request(lambda request: "hx-request" in request.headers):
        pond("queue", "set", "renewed", "--weight", "50")
    page.get_by_label("Name").fill("half a na")
    held[0].continue_()
    until("the answer was dealt with", lambda: page.evaluate("window.renewed"))
    assert page.get_by_label("Name").input_value() == "half a na"
    pond("queue", "rm", "renewed")


def errand_a_chart_of_a_single_moment_shows_that_moment(world):
    page = world.log_in()

    def only_the_first(route):
        samples = route.fetch().json()
        for task in samples["tasks"]:
            for column in task.values():
                if isinstance(column, list):
                    del column[1:]
        route.fulfill(json=samples)

    page.route("**/samples.json", only_the_first)
    # Keeps the charts that are made, to ask them what they show.
    page.add_init_script("""window.plots = []; let made;
      Object.defineProperty(window, 'uPlot', { configurable: true, get: () => made, set(plot) {
        made = class extends plot { constructor(...given) { super(...given); window.plots.push(this); } }; } });""")
    page.goto(f"{world.base}/jobs/{world.first}")
    # The policy forbids what `wait_for_function` does.
    until("the charts are drawn", lambda: page.evaluate("window.plots.filter((plot) => plot.scales.x.max != null).length === 2"))
    for span in page.evaluate("window.plots.map((plot) => plot.scales.x.max - plot.scales.x.min)"):
        assert span <= 60, f"a single moment is shown over {span} s"


def errand_nothing_serious_stands_in_the_way_of_anybody(world):
    """axe-core over every page, light and dark, wide and narrow: no serious and no critical finding."""
    waiting = submit("waits-for-ever", "true", resources={"cpu": world.cores * 2, "memory": "32MB"})
    # What it failed for is long and has no place to break.
    lost = submit("lost", ["no-such-program"], env={"PATH": "/" + "x" * 200})
    await_state(lost, "failed")
    found = []
    paths = [*PAGES, "/queue?state=all", f"/jobs/{world.first}", f"/jobs/{waiting}", f"/jobs/{lost}", f"/jobs/{world.unwell}", f"/jobs/{world.first}/logs", f"/jobs/{world.first}/spec", "/nowhere"]
    page = world.log_in()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        for width in (1280, 390):
            page.set_viewport_size({"width": width, "height": 900})
            for path in paths:
                page.goto(world.base + path)
                page.wait_for_load_state("load")
                for finding in Axe().run(page).response["violations"]:
                    if finding["impact"] in ("serious", "critical"):
                        nodes = "; ".join(node["html"][:120] for node in finding["nodes"][:3])
                        found.append(f"{path} ({scheme}, {width}): {finding['id']}: {finding['help']}: {nodes}")
                wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
                if wide > 0:
                    found.append(f"{path} ({width}): the page is {wide} px wider than the window")
                out = page.evaluate(OUT_OF_ITS_CARD)
                if out:
                    found.append(f"{path} ({width}): {out} leave their card")
                # What axe-core leaves undecided where text is seen through.
                faint = page.evaluate("[...document.querySelectorAll('main *')].filter(it => it.childElementCount === 0 && it.textContent.trim() && it.checkVisibility() && ((o) => o > 0 && o < 1)(+getComputedStyle(it).opacity)).map(it => it.outerHTML.slice(0, 120))")
                if faint:
                    found.append(f"{path} ({width}): {faint} are pale")
    assert not found, "\n".join(found)


def picture(world, page, name):
    folder = os.environ.get("POND_PICTURES")
    if folder:
        shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
        shot.quantize(96, dither=Image.Dither.NONE).save(os.path.join(folder, f"{name}.png"), optimize=True)


def errand_pictures(world):
    if "POND_PICTURES" not in os.environ:
        return
    shown = submit("llama-sft", "i=0; while true; do i=$((i+1)); echo step $i loss 0.$((900-i)); sleep 0.2; done")
    waits = submit("pretrain-7b", "sleep 9", resources={"cpu": world.cores, "memory": "64MB", "disk": "10MB"})
    pond("price", "set", "cpu", "0.04", "--currency", "EUR")
    pond("budget", "set", "students", "25", "--every", "week")
    pond("notify", "add", "ops", "webhook:https://hooks.example.org/pond", "--on", "failed")
    submit("notebook", "sleep 1000", type="env")
    machine = json.loads(pond("node", "ls", "--json"))[0]["name"]
    pond("node", "label", machine, "kernel=", "cpu=")
    time.sleep(12)
    names = {"home": "/", "map": "/map", "queue": "/queue?state=all", "job": f"/jobs/{shown}", "why": f"/jobs/{waits}", "unwell": f"/jobs/{world.unwell}", "output": f"/jobs/{shown}/logs",
             "envs": "/envs", "usage": "/usage", "notify": "/notify", "capacity": "/capacity", "scheduler": "/scheduler", "admin": "/admin"}
    page = world.log_in()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        for name, path in names.items():
            page.goto(world.base + path)
            page.wait_for_timeout(600)
            picture(world, page, f"{name}-{scheme}")
    page.set_viewport_size({"width": 390, "height": 844})
    for name in ("home", "why"):
        page.goto(world.base + names[name])
        page.wait_for_timeout(400)
        picture(world, page, f"{name}-narrow")


def main():
    errands = [(name, run) for name, run in globals().items() if name.startswith("errand_")]
    failed = 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        world = World(browser)
        for name, run in errands:
            world.errors.clear()
            try:
                run(world)
                assert not world.errors, "\n".join(world.errors)
                print(f"ok      {name}")
            except Exception:
                failed += 1
                print(f"FAILED  {name}\n{traceback.format_exc()}")
                world.page = world.log_in()
        browser.close()
    sys.exit(1 if failed else 0)


main()
