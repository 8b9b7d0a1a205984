"""The live page as an operator uses it, on the simulated microscope."""

import re
import time
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import expect

from nextpyp_nb.session import open_session
from nextpyp_nb.session.manual_picks import merged_picks

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]


def count(page, track, what="done"):
    found = re.search(r"[\d,]+", page.locator(f".nb-track-{track} .nb-count-{what}").inner_text())
    return int(found.group().replace(",", ""))


def wait(condition, seconds, what):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, what
        time.sleep(0.1)


def state(page, track):
    return page.locator(f".nb-track-{track} .nb-state").inner_text().strip()


def press(page, track, button):
    # A page in the background draws no frames, and the browser waits for one before it clicks.
    page.bring_to_front()
    page.locator(f".nb-track-{track} .nb-{button}").click()


def confirm(page, track):
    page.locator(f".nb-track-{track} .nb-sure").click()


def test_counts_rise_and_the_newest_micrograph_is_drawn(open_page):
    page = open_page()
    wait(lambda: count(page, "preprocess") >= 1, 60, "no micrograph on the page within a minute")
    first = count(page, "preprocess")
    wait(lambda: count(page, "preprocess") > first, 60, "the count does not rise")
    page.locator(".nb-tab-micrographs").first.click()
    page.wait_for_function(
        """() => { const c = document.querySelector('.nb-micrograph-canvas');
            if (!c || !c.width) return false;
            const p = c.getContext('2d').getImageData(c.width/4, c.height/4, c.width/2, c.height/2).data;
            let least = 255, most = 0;
            for (let i = 0; i < p.length; i += 4) {
                least = Math.min(least, p[i]);
                most = Math.max(most, p[i]);
            }
            return most - least > 100; }""",
        polling=100,
    )
    picked = page.locator(".nb-pick-count")
    wait(lambda: re.search(r"\d+ particles", picked.inner_text()), 30, "no count of particles")
    page.locator(".nb-tab-table").first.click()
    wait(lambda: "micrographs" in page.locator(".nb-table .nb-selected-count").inner_text(), 30, "no table")


def test_stop_start_clear_and_restart_do_what_they_say(open_page, demo):
    page, session = open_page(), open_session("demo", root=demo[2] / "sessions")
    wait(lambda: count(page, "preprocess") >= 2, 90, "no micrographs")
    press(page, "preprocess", "stop")
    wait(lambda: state(page, "preprocess") == "stopped", 60, "Stop does not stop")
    wait(page.locator(".nb-track-preprocess .nb-stop").is_disabled, 30, "Stop is not disabled")
    held = len(session.micrographs)
    # Words come one after the other: the count after the state.
    wait(lambda: count(page, "preprocess") == held, 30, "the page counts others than there are")
    time.sleep(6)
    assert count(page, "preprocess") == len(session.micrographs) == held
    press(page, "preprocess", "start")
    wait(lambda: state(page, "preprocess") == "running", 30, "Start does not start")
    wait(lambda: count(page, "preprocess") > held, 60, "nothing goes on after Start")
    transferred = count(page, "transfer")
    press(page, "preprocess", "clear")
    confirm(page, "preprocess")
    wait(lambda: count(page, "preprocess") < held, 20, "Clear does not clear")
    assert count(page, "transfer") >= transferred
    wait(lambda: count(page, "preprocess") >= 1, 60, "what was cleared is not made again")
    press(page, "preprocess", "restart")
    confirm(page, "preprocess")
    wait(lambda: state(page, "preprocess") == "running", 20, "Restart does not restart")
    press(page, "preprocess", "logs")
    wait(lambda: page.locator(".nb-log").first.is_visible(), 30, "no log")


def test_a_wrong_setting_is_said_beside_its_field_and_a_right_one_is_saved(open_page, demo):
    page = open_page()
    page.locator(".nb-tab-settings").first.click()
    page.locator(".nb-side-tab.nb-tab-picking").click()
    field = page.locator(".nb-field-picking-radius input").first
    field.fill("-5")
    field.press("Tab")
    wait(
        lambda: "expected 10 to 2000" in page.locator(".nb-field-picking-radius").first.inner_text(),
        30,
        "no sentence",
    )
    field.fill("77")
    field.press("Tab")
    wait(lambda: not page.locator(".nb-save").first.is_disabled(), 30, "Save stays disabled")
    page.locator(".nb-save").first.click()
    session = open_session("demo", root=demo[2] / "sessions")
    wait(lambda: session.settings.picking.radius == 77, 30, "the setting is not saved")


def test_two_pages_agree_and_a_closed_one_comes_back_the_same(open_page, demo):
    one, two = open_page(), open_page()
    press(one, "classify", "stop")
    # On an idle machine the other page hears within 2 s; here two browsers, movies and classes share it.
    wait(lambda: state(two, "classify") in ("stopped", "stopping"), 30, "the other page does not hear")
    pid = open_session("demo", root=demo[2] / "sessions").status().pid
    before = count(one, "transfer")
    one.close()
    two.close()
    again = open_page()
    assert open_session("demo", root=demo[2] / "sessions").status().pid == pid
    assert psutil.pid_exists(pid)
    wait(lambda: count(again, "transfer") >= before, 30, "comes back with fewer movies")
    wait(lambda: state(again, "classify") in ("stopped", "stopping"), 30, "comes back in another state")
    press(again, "classify", "start")
    wait(lambda: state(again, "classify") == "running", 30, "Start does not start")


def place_on_page(page, entry, y, x):
    """Where the centre of pixel (y, x) of a micrograph, shown whole, lies on the page."""
    box = page.locator(".nb-micrograph-canvas").bounding_box()
    scale = min(box["width"] / entry["width"], box["height"] / entry["height"])
    left = box["x"] + (box["width"] - entry["width"] * scale) / 2
    top = box["y"] + (box["height"] - entry["height"] * scale) / 2
    return float(left + (x + 0.5) * scale), float(top + (entry["height"] - 0.5 - y) * scale)


def particles_shown(page):
    return int(re.match(r"[\d,]+", page.locator(".nb-pick-count").inner_text()).group().replace(",", ""))


def test_picks_by_mouse_threshold_and_other_settings_on_a_micrograph(open_page, demo):
    session = open_session("demo", root=demo[2] / "sessions")
    wait(lambda: len(session.micrographs) >= 2, 90, "no micrographs")
    entry = session.micrographs.iloc[0].to_dict()
    count = int(entry["particles"])
    page = open_page()
    page.locator(".nb-tab-micrographs").first.click()
    # By its name: which is the first may change while movies are done anew.
    page.locator(".nb-micrographs .nb-find input").fill(entry["name"])
    wait(lambda: entry["name"] in page.locator(".nb-micrograph-name").inner_text(), 30, "another is shown")
    wait(lambda: particles_shown(page) == count, 30, "other particles than in the table")

    def particles():
        return int(session.micrograph(entry["name"])["particles"])

    picks = merged_picks(session.folder, entry["name"])
    inner = ((picks.centres > 60) & (picks.centres < entry["height"] - 60)).all(axis=1)
    at = place_on_page(page, entry, *picks.centres[inner][0])
    page.locator(".nb-mode-remove").click()
    page.mouse.click(*at)
    wait(lambda: particles() == count - 1 == particles_shown(page), 30, "the pick is not removed")
    by_hand = page.locator(".nb-image-tools .nb-by-hand")
    wait(lambda: "1 removed by hand" in by_hand.inner_text(), 30, "the removal is not counted")
    page.locator(".nb-mode-add").click()
    page.mouse.click(*at)
    wait(lambda: particles() == count == particles_shown(page), 30, "the pick does not come back")
    page.locator(".nb-mode-add").click()
    slider = page.locator(".nb-threshold")
    slider.fill(slider.get_attribute("max"))
    wait(lambda: particles_shown(page) == 0, 30, "particles above the highest threshold")
    page.locator(".nb-as-picked").click()
    wait(lambda: particles_shown(page) == count, 30, "As picked does not come back")
    slider.fill("4.5")
    page.locator(".nb-use-threshold").click()
    page.locator(".nb-micrographs .nb-change .nb-change-cancel").click()
    # The slider stays where it was left; what is shown from here on is what was picked.
    page.locator(".nb-as-picked").click()
    radius = page.locator(".nb-tryout .nb-field-picking-radius input")
    radius.fill("60")
    radius.press("Tab")
    page.locator(".nb-try:enabled").click()
    page.locator(".nb-show-tried").wait_for(timeout=240_000)
    tried = page.locator(".nb-tried-result")
    wait(lambda: "picking.radius = 60" in tried.inner_text(), 30, "the result does not say what was tried")
    assert session.settings.picking.radius != 60
    page.locator(".nb-promote:enabled").click()
    change = page.locator(".nb-micrographs .nb-change").locator("visible=true")
    wait(lambda: "redo picks of" in change.inner_text(), 30, "it is not said what is done anew")
    change.locator(".nb-change-cancel").click()
    assert session.settings.picking.radius != 60
    page.locator(".nb-show-now").click()
    wait(lambda: particles_shown(page) == count, 30, "the session's picks do not come back")


def test_classes_come_and_are_accepted_and_rejected(open_page, demo):
    page = open_page()
    page.locator(".nb-tab-classes").first.click()
    wait(lambda: page.locator(".nb-tile").count() >= 2, 240, "no 2D classes within four minutes")
    session = open_session("demo", root=demo[2] / "sessions")
    one, two = (int(page.locator(".nb-tile").nth(i).get_attribute("data-identity")) for i in (0, 1))
    for identity, act in ((one, "accept"), (two, "reject")):
        # Tiles change their places when a round ends.
        page.locator(f".nb-tile[data-identity='{identity}']").click()
        page.locator(f".nb-{act}:enabled").click()

    def marks():
        return session.classes.set_index("identity")["mark"].to_dict()

    wait(lambda: (marks().get(one), marks().get(two)) == (1, 0), 30, "the classes are not marked")
    page.locator(f".nb-tile.nb-accepted[data-identity='{one}']").wait_for()
    page.locator(f".nb-tile.nb-rejected[data-identity='{two}']").wait_for()
    done = int((session.rounds["state"] == "done").sum())
    page.locator(".nb-update-classes").click()
    expect(page.locator(".nb-banner")).to_contain_text("particles begins", timeout=30_000)
    wait(lambda: int((session.rounds["state"] == "done").sum()) > done, 240, "no round after Update now")


def test_accepted_averages_become_templates_and_their_particles_are_exported(open_page, demo):
    page, session = open_page(), open_session("demo", root=demo[2] / "sessions")
    page.locator(".nb-tab-classes").first.click()
    page.locator(".nb-tile.nb-accepted").first.wait_for()
    page.locator(".nb-select-none").click()
    page.locator(".nb-use-templates").click()
    wait(lambda: session.settings.picking.method == "template", 30, "the averages are no templates")
    page.locator(".nb-export-accepted").click()
    page.locator(".nb-tab-operation").first.click()
    job = page.locator(".nb-exports .nb-job").first
    expect(job).to_contain_text("done", timeout=240_000)
    (path,) = session.exports["path"]
    expect(job).to_contain_text(path)
    assert (Path(path) / "particles.star").is_file()


def test_an_export_from_its_dialog_and_a_report_that_is_cancelled(open_page, demo):
    page, out = open_page(), demo[2] / "out"
    page.locator(".nb-export-open").click()
    page.locator(".nb-export-filter input").fill("particles>=1")
    page.locator(".nb-export-out input").fill(str(out))
    page.locator(".nb-export-out input").press("Tab")
    page.locator(".nb-export-start:enabled").click()
    expect(page.locator(".nb-banner")).to_contain_text("exporting", timeout=30_000)
    expect(page.locator(".nb-export")).to_be_hidden()
    job = page.locator(".nb-exports .nb-job", has_text="of “particles>=1”")
    expect(job.locator(".nb-job-text")).to_contain_text(str(out), timeout=30_000)
    expect(job).to_contain_text("done", timeout=240_000)
    assert (out / "micrographs.star").is_file()
    job.locator(".nb-job-log-open").click()
    expect(job.locator(".nb-job-log")).to_contain_text("exporting", timeout=30_000)
    page.locator(".nb-export-open").click()
    page.locator(".nb-report-start").click()
    report = page.locator(".nb-exports .nb-job", has_text="Report")
    report.locator(".nb-job-cancel").click()
    expect(report).to_contain_text("cancelled", timeout=30_000)
    expect(report.locator(".nb-job-cancel")).to_be_hidden()
    page.locator(".nb-export-open").click()
    page.locator(".nb-report-start").click()
    made = page.locator(".nb-exports .nb-job", has_text="Report").filter(has_not_text="cancelled")
    expect(made).to_contain_text("done", timeout=240_000)
    session = open_session("demo", root=demo[2] / "sessions")
    path = session.exports.loc[session.exports["state"] == "done", "path"].iloc[-1]
    assert "CTF" in Path(path).read_text()


def test_the_gain_is_checked_on_the_first_movies(open_page):
    page = open_page()
    page.locator(".nb-tab-settings").first.click()
    page.locator(".nb-side-tab.nb-tab-gain").click()
    page.locator(".nb-check-gain").click()
    told = page.locator(".nb-gain-told")
    expect(told).to_contain_text("Checking on the first movies", timeout=30_000)
    expect(told).to_contain_text("fits: ", timeout=240_000)
    expect(told.locator("img")).to_be_visible(timeout=30_000)
    expect(page.locator(".nb-check-gain")).to_be_enabled(timeout=30_000)


def test_cancel_all_stops_everything_once_it_is_confirmed(open_page, demo):
    page, session = open_page(), open_session("demo", root=demo[2] / "sessions")
    page.locator(".nb-cancel").click()
    page.locator(".nb-operation .nb-tracks > .nb-confirm .nb-leave").click()
    assert session.status().runner == "running"
    page.locator(".nb-cancel").click()
    page.locator(".nb-operation .nb-tracks > .nb-confirm .nb-sure").click()
    for track in ("transfer", "preprocess", "classify"):
        wait(lambda track=track: state(page, track) == "stopped", 60, f"{track} does not stop")
    expect(page.locator(".nb-session-state")).to_contain_text("stopped", timeout=60_000)
    expect(page.locator(".nb-cancel")).to_be_disabled(timeout=30_000)
    expect(page.locator(".nb-start-all")).to_be_enabled(timeout=30_000)
