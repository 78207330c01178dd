"""Logging in through an identity provider, in Chromium: the provider is provider.mjs, the pool a real one.

Run by tests/tests/oidc.rs with POND_URL and POND_PROVIDER set. Each function whose name begins with `errand_` is one; they run in order.
"""

import json
import os
import subprocess
import sys
import traceback
import urllib.parse
import urllib.request

from playwright.sync_api import expect, sync_playwright

POOL, PROVIDER = os.environ["POND_URL"], os.environ["POND_PROVIDER"]


def pond(*words):
    done = subprocess.run(["pond", *words], capture_output=True, text=True)
    assert done.returncode == 0, f"pond {words}: {done.stdout}{done.stderr}"
    return done.stdout.strip()


def user(name):
    return next(user for user in json.loads(pond("user", "list", "--json")) if user["name"] == name)


def set_groups(person, *groups):
    urllib.request.urlopen(f"{PROVIDER}/test/{person}/{','.join(groups)}").read()


def fresh(browser):
    context = browser.new_context()
    context.set_default_timeout(15_000)
    return context.new_page()


def go_through(page, person, path="/"):
    """From a page of the pool to the provider, and as this person back."""
    page.goto(POOL + path)
    page.get_by_test_id("by-provider").click()
    assert page.url.startswith(PROVIDER), page.url
    page.locator("[name=login]").fill(person)
    page.locator("[name=password]").fill("any")
    page.locator("button[type=submit]").click()
    page.locator("button[type=submit]").click()


def way_back(page, person):
    """Goes to the provider as this person and gives the address it would send the browser back to."""
    page.goto(POOL)
    page.get_by_test_id("by-provider").click()
    page.locator("[name=login]").fill(person)
    page.locator("[name=password]").fill("any")
    page.locator("button[type=submit]").click()
    consent = page.locator("form").first
    place = urllib.parse.urljoin(page.url, consent.get_attribute("action"))
    fields = {it.get_attribute("name"): it.get_attribute("value") for it in consent.locator("input").all()}
    answer = page.context.request.post(place, form=fields, max_redirects=0)
    while not (place := urllib.parse.urljoin(place, answer.headers["location"])).startswith(POOL):
        answer = page.context.request.get(place, max_redirects=0)
    return place


def errand_who_is_in_a_group_has_its_role(browser):
    page = fresh(browser)
    go_through(page, "ann", "/queue?state=all")
    expect(page).to_have_url(POOL + "/queue?state=all")
    expect(page.get_by_test_id("user")).to_have_text("ann")
    ann = user("ann")
    assert ann["roles"] == {"lab": "admin"} and ann["origin"] == PROVIDER and not ann["password"], ann
    ours = [cookie for cookie in page.context.cookies(POOL) if cookie["name"].startswith("pond_")]
    assert len(ours) == 1 and ours[0]["httpOnly"] and ours[0]["sameSite"] == "Lax", ours
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_test_id("login")).to_be_visible()


def errand_groups_are_looked_at_with_each_login(browser):
    go_through(page := fresh(browser), "bob")
    expect(page.get_by_test_id("user")).to_have_text("bob")
    assert user("bob")["roles"] == {"lab": "member"}
    pond("project", "grant", "other", "bob", "viewer")
    set_groups("bob")
    go_through(page := fresh(browser), "bob")
    expect(page.get_by_test_id("user")).to_have_text("bob")
    assert user("bob")["roles"] == {"other": "viewer"}, "what was given by hand stays"


def errand_a_name_that_is_none_here_becomes_the_nearest_that_is(browser):
    go_through(page := fresh(browser), "zoe")
    expect(page.get_by_test_id("user")).to_have_text("DOMAIN-Zoë-O-Brien")
    assert user("DOMAIN-Zoë-O-Brien")["roles"] == {"lab": "member"}
    # Still known by issuer and subject.
    go_through(page := fresh(browser), "zoe")
    expect(page.get_by_test_id("user")).to_have_text("DOMAIN-Zoë-O-Brien")


def errand_nobody_becomes_the_owner_by_their_name(browser):
    go_through(page := fresh(browser), "eve")
    expect(page.get_by_test_id("error")).to_contain_text("another user")
    page.goto(POOL)
    expect(page.get_by_test_id("login")).to_be_visible()


def errand_a_login_belongs_to_the_browser_that_began_it_and_works_once(browser):
    attacker, victim = fresh(browser), fresh(browser)
    kept = way_back(attacker, "ann")
    # Whoever is sent there does not become ann.
    assert victim.goto(kept).status == 401
    expect(victim.get_by_test_id("error")).to_contain_text("not begun in this browser")
    victim.goto(POOL)
    expect(victim.get_by_test_id("login")).to_be_visible()
    # And it is used up by that.
    assert attacker.goto(kept).status == 401
    seen = []
    page = fresh(browser)
    page.on("request", lambda request: seen.append(request.url) if "/provider/done" in request.url else None)
    go_through(page, "ann")
    expect(page.get_by_test_id("user")).to_have_text("ann")
    assert page.goto(seen[0]).status == 401, "a code is used once"
    for forged in ["", "?state=none&code=none", "?error=access_denied"]:
        assert page.goto(f"{POOL}/login/provider/done{forged}").status == 401


def errand_who_is_disabled_stays_outside(browser):
    pond("user", "disable", "ann")
    go_through(page := fresh(browser), "ann")
    expect(page.get_by_test_id("error")).to_contain_text("disabled")


def main():
    errands = [(name, it) for name, it in globals().items() if name.startswith("errand_")]
    failed = 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=os.environ["POND_CHROMIUM"], args=["--no-sandbox"])
        for name, errand in errands:
            try:
                errand(browser)
                print("ok     ", name)
            except Exception:
                failed += 1
                print("FAILED ", name)
                traceback.print_exc()
        browser.close()
    sys.exit(failed > 0)


main()
