"""The report's page in a real browser, by clicks, drags and keys."""

import json
import math
import statistics

import pytest

from mmrep.sweeps.page import page
from tests.sweeps.browser import Browser, find_chromium
from tests.sweeps.report_data import fake, one_run


@pytest.fixture(scope="module")
def browser():
    if find_chromium() is None:
        pytest.skip("no Chromium or Chrome is installed, so nothing can be clicked (Debian: apt-get install chromium)")
    with Browser() as one:
        yield one


@pytest.fixture(scope="module")
def hundred(tmp_path_factory):
    file = tmp_path_factory.mktemp("page") / "hundred.html"
    file.write_text(page(fake(batches=(64,), seeds=2, metrics=12, rows=20, queries=7, curves=3)), encoding="utf-8")
    return file


@pytest.fixture
def opened(browser, hundred):
    """The page of 100 runs, freshly opened; a test that leaves an error in its console fails."""
    browser.errors.clear()
    browser.open(hundred)
    browser.wait(DRAWN)
    yield browser
    assert browser.errors == []


def open_text(browser, tmp_path, data):
    (tmp_path / "page.html").write_text(page(data), encoding="utf-8")
    browser.errors.clear()
    browser.open(tmp_path / "page.html")
    browser.wait(f"document.querySelector('#empty') !== null || ({DRAWN})")


DRAWN = "typeof drawers !== 'undefined' && drawers.length > 0 && drawers.every((d) => !d.stale)"
ROWS = "[...document.querySelectorAll('#runs tbody tr')]"


def choose(browser, selector, value):
    """As if the option of a select had been chosen: its list is drawn by the system, out of reach of clicks."""
    browser.js(f"(() => {{ const s = document.querySelector({json.dumps(selector)}); s.value = {json.dumps(value)}; "
               "s.dispatchEvent(new Event('change')) })()")


def text_of(browser, selector):
    return browser.js(f"document.querySelector({json.dumps(selector)}).textContent")


def column(browser, key):
    """The texts of a column of the runs that the table shows."""
    return browser.js(f"""(() => {{
        const at = [...document.querySelectorAll('#runs th')].findIndex((th) => th.dataset.key === {json.dumps(key)});
        return {ROWS}.map((row) => row.cells[at].textContent) }})()""")


@pytest.mark.slow
def test_500_runs_open_and_filter_quickly(browser, tmp_path):
    file = tmp_path / "page.html"
    file.write_text(page(fake()), encoding="utf-8")
    assert 9e6 < file.stat().st_size < 11e6  # of it 3.3 MB are places on maps, 4 MB curves, 0.5 MB pictures
    took = []
    for _ in range(3):  # the quickest counts: other programs may hold the machine
        browser.open(file)
        browser.wait("performance.getEntriesByType('navigation')[0].loadEventEnd > 0")
        took.append(browser.js("""Math.max(performance.getEntriesByType('navigation')[0].loadEventEnd,
            ...performance.getEntriesByType('paint').map((p) => p.startTime))"""))
    assert min(took) < 2000, f"milliseconds to load and paint: {took}"
    browser.wait(DRAWN)
    filters = """['sigmoid', 'sigmoid seed2', '', 'vit', ''].map((text) => {
        const find = document.getElementById('find'), start = performance.now();
        find.value = text;
        find.dispatchEvent(new Event('input'));
        drawers.find((d) => d.section.id === 'runs').draw();
        document.body.offsetHeight;
        return performance.now() - start })"""
    took = [statistics.median(browser.js(filters)) for _ in range(3)]
    assert min(took) < 150, took  # 15 to 40 ms on two cores at rest


def test_head_counts_runs_by_state_and_filters_by_it(opened):
    assert text_of(opened, "h1") == "Losses and learning rates of image-text pretraining"
    assert opened.js("[...document.querySelectorAll('.counts button')].map((b) => b.textContent)") == [
        "100runs", "95finished", "4failed", "1stopped"]
    opened.click(".problems summary")
    assert opened.js("document.querySelector('.problems').open && document.querySelectorAll('.problems li').length") == 4
    opened.click(".counts button[data-state=failed]")
    assert text_of(opened, "#shown") == "4 of 100 runs"
    opened.wait(DRAWN)
    assert len(column(opened, "state")) == 4 and set(column(opened, "state")) == {"failed"}
    assert "FloatingPointError" in opened.js(f"{ROWS}[0].textContent")
    opened.click("#clear")
    assert text_of(opened, "#shown") == "100 of 100 runs"


def test_headers_sort_up_and_down(opened):
    key = "metric probe/findings/auroc"
    header = f"th[data-key='{key}']"
    opened.click(f"{header} button")
    assert opened.js(f"document.querySelector({json.dumps(header)}).ariaSort") == "descending"
    down = [float(x) for x in column(opened, key)]
    assert down == sorted(down, reverse=True) and len(down) == 50
    opened.click(f"{header} button")
    up = [float(x) for x in column(opened, key)]
    assert up == sorted(up) and up[0] < down[-1]
    opened.click("th[data-key='axis optim.lr'] button")
    assert column(opened, "axis optim.lr") == ["1e-4"] * 20 + ["3e-4"] * 20 + ["0.001"] * 10
    opened.js("document.querySelector('#runs .scroll').scrollTop = 1e6")  # further rows come when they are scrolled to
    opened.wait(f"{ROWS}.length > 50")


def test_text_and_selects_filter_all_sections(opened):
    opened.click("#find")
    opened.type("sigmoid seed1")
    assert text_of(opened, "#shown") == "10 of 100 runs"
    choose(opened, "select[data-key='axis encoder']", "1")
    assert text_of(opened, "#shown") == "5 of 100 runs"
    opened.wait(DRAWN)
    assert set(column(opened, "axis encoder")) == {"resnet"} and set(column(opened, "seed")) == {"1"}
    assert opened.js("document.querySelectorAll('#curves .lines path').length") == 5
    assert opened.js("document.querySelectorAll('#results .dots tbody tr').length") == 5
    assert opened.js("[...document.querySelectorAll('#parallel .lines path')].filter((p) => +p.style.opacity > 0.1).length") == 5
    opened.click("#find")
    opened.type(" nothing")
    opened.wait(DRAWN)
    assert "No run passes" in text_of(opened, "#runs") and "No run passes" in text_of(opened, "#curves")


def test_a_number_is_found_whole(browser, tmp_path):
    open_text(browser, tmp_path, fake(lrs=(1e-3, 1e-2), losses=("softmax",), encoders=("vit",), batches=(6, 64), seeds=12, rows=6))
    found = """((text) => { filter.text = text; update(); return left.length })"""
    assert [browser.js(f"{found}({text!r})") for text in ("seed1", "seed11", "seed", "batch=6", "batch=64", "lr=0", "lr=0.0", "1")] == [
        4, 4, 48, 24, 24, 0, 48, 48]  # a word that has no key may be a part of a number
    assert browser.errors == []


@pytest.mark.slow
def test_brushing_an_axis_filters_the_table_and_the_curves(opened):
    axis = "g.axis[data-key='metric probe/findings/auroc']"
    opened.drag(f"{axis} .hit", (0.5, 0.02), (0.5, 0.3))
    opened.wait("left.length < 100")
    opened.wait(DRAWN)
    count = opened.js("left.length")
    assert 0 < count < 50 and opened.js("document.querySelectorAll('#curves .lines path').length") == count
    assert opened.js("Math.min(...left.map((r) => valueOf(r, 'probe/findings/auroc')))") > opened.js(
        "Math.max(...RUNS.filter((r) => !left.includes(r) && r.values.length).map((r) => valueOf(r, 'probe/findings/auroc')))")
    assert text_of(opened, ".chip").startswith("auroc 0.")
    opened.click(".chip")
    assert text_of(opened, "#shown") == "100 of 100 runs"
    opened.js("document.querySelector('g.axis[data-key=\\'axis loss\\']').focus()")  # and by keyboard
    opened.key("ArrowUp")
    assert text_of(opened, "#shown") == "80 of 100 runs" and "softmax" not in text_of(opened, ".chip")
    opened.key("Escape")
    assert text_of(opened, "#shown") == "100 of 100 runs"


def test_axes_that_are_spaced_in_the_logarithm_are_drawn_so(opened):
    assert opened.js("['axis optim.lr', 'seed'].map((key) => Boolean(dimension(key).log))") == [True, False]
    assert opened.js("dimension('axis optim.lr').place(1e-3)") == pytest.approx(0.5)


def test_curves_by_key_mean_and_log(opened):
    assert opened.js("document.querySelectorAll('#curves .lines path').length") == 100
    assert "4 lines leave the plot" in text_of(opened, "#curves .note")
    opened.hover("#curves svg", (0.6, 0.75))
    assert "/seed" in text_of(opened, "#tip") and "step" in text_of(opened, "#tip")
    opened.click("#curves .controls label:nth-child(3) input")
    assert opened.js("document.querySelectorAll('#curves .lines path').length") == 50
    opened.click("#curves .controls label:nth-child(4) input")
    assert opened.js("document.querySelectorAll('#curves .lines path').length") == 50
    choose(opened, "#curves select", "val/auroc")
    assert "50 settings" in text_of(opened, "#curves .note")


def test_a_run_opens_by_click_and_shows_its_map(opened):
    opened.click("#runs tbody tr:nth-child(2)")
    assert text_of(opened, "#detail h2") == "optim.lr=0.0001,loss=softmax,encoder=vit,batch=64/seed1"
    assert opened.js("document.querySelectorAll('#detail .map path.mark').length") == 40
    assert opened.js("document.querySelectorAll('#detail table tbody tr').length") == 12
    opened.hover("#detail .map path.mark")
    assert text_of(opened, "#detail .card").startswith("row 0, finding: ")
    assert opened.js("document.querySelector('#detail .card img').naturalWidth") == 48
    assert "Frontal view" in text_of(opened, "#detail .card")
    assert opened.js("document.querySelectorAll('#detail .map svg line').length") == 1  # to its partner
    hits = opened.js("[...document.querySelectorAll('#detail .query')].map((q) => q.querySelectorAll('.right').length)")
    assert len(hits) == 7 and set(hits) <= {0, 1} and 1 in hits
    opened.click("#detail .top button:nth-of-type(2)")
    assert text_of(opened, "#detail h2") == "optim.lr=0.0001,loss=softmax,encoder=resnet,batch=64/seed0"
    opened.click("#close")
    assert opened.js("document.querySelector('#detail').hidden")


def test_everything_is_reached_by_keyboard(opened):
    opened.js("document.querySelector('#runs tbody tr').focus()")
    opened.key("ArrowDown")
    opened.key("Enter")
    assert text_of(opened, "#detail h2").endswith("seed1") and opened.js("document.activeElement.id") == "detail-title"
    opened.js("document.querySelector('#detail .map svg').focus()")
    opened.key("ArrowRight")
    assert text_of(opened, "#detail .card").startswith("row 0")
    opened.key("Escape")
    assert opened.js("document.querySelector('#detail').hidden && document.activeElement.dataset.run") == "1"
    opened.js("document.querySelector('#curves svg').focus()")
    opened.key("ArrowRight")
    assert "/seed" in text_of(opened, "#tip")
    opened.key("Enter")
    assert not opened.js("document.querySelector('#detail').hidden")
    opened.key("Escape")
    opened.js("document.querySelector('th[data-key=seed] button').focus()")
    opened.key("Enter")
    assert column(opened, "seed") == ["0"] * 50
    unnamed = opened.js("""[...document.querySelectorAll('button, select, input, svg[role], g[tabindex]')].filter((e) =>
        !(e.ariaLabel || e.textContent.trim() || e.closest('label') || e.title)).length""")
    assert unnamed == 0


def test_columns_are_chosen(opened):
    before = opened.js("document.querySelectorAll('#runs th').length")
    opened.click("#runs details summary")
    opened.click("#runs .picker .list label:nth-child(5) input")
    assert opened.js("document.querySelectorAll('#runs th').length") == before + 1
    opened.key("Escape")
    assert not opened.js("document.querySelector('#runs details').open")


@pytest.mark.slow
def test_few_seeds_show_dots_and_no_interval(browser, tmp_path):
    few = dict(lrs=(1e-3,), encoders=("vit",), batches=(64,), metrics=4, rows=8)
    open_text(browser, tmp_path, fake(seeds=3, **few))
    row = "#results .dots tbody tr:nth-child(2)"
    marks = f"['.seed', '.interval', '.control'].map((c) => document.querySelectorAll('{row} ' + c).length)"
    assert browser.js(marks) == [3, 0, 1] and "3 seeds" in text_of(browser, row)
    assert "baseline" in text_of(browser, "#results .dots tbody tr:nth-child(1)")
    assert "the smallest possible p is 0.25" in text_of(browser, ".compared")
    assert browser.js("[...document.querySelectorAll('#comparisons .stars')].map((e) => e.textContent).join('')") == ""
    open_text(browser, tmp_path, fake(seeds=10, **few))
    assert browser.js(marks) == [10, 1, 1]
    assert "**" in browser.js("[...document.querySelectorAll('#comparisons .stars')].map((e) => e.textContent).join('')")
    assert browser.errors == []


def test_what_is_true_of_all_comparisons_is_said_once(browser, tmp_path):
    data = fake(lrs=(1e-3,), losses=("softmax", "sigmoid", "local"), encoders=("vit",), batches=(64,), seeds=3, metrics=3, rows=6)
    data["comparisons"][0]["note"] += "; only differences above 0.2 would be found"
    open_text(browser, tmp_path, data)
    assert text_of(browser, ".compared").count("the smallest possible p") == 1
    notes = browser.js("[...document.querySelectorAll('#comparisons tbody tr')].map((row) => row.cells[row.cells.length - 1].textContent)")
    assert notes == ["only differences above 0.2 would be found", ""] and browser.errors == []


def test_reports_of_nothing_say_so(browser, tmp_path):
    nothing = one_run() | {"runs": [], "metrics": [], "shown": [], "problems": ["this sweep has 0 runs: there is nothing to report"]}
    open_text(browser, tmp_path, nothing)
    assert "0 runs" in text_of(browser, "#empty")
    open_text(browser, tmp_path, one_run())
    for section, said in (("results", "No metric was summarized"), ("curves", "No learning curves"), ("parallel", "need two axes"),
                          ("results", "Nothing is compared"), ("runs", "finished")):
        assert said in text_of(browser, f"#{section}")
    waiting = one_run(state="waiting", values={}, step=0, seconds=0, axes={"lr": None})
    open_text(browser, tmp_path, waiting | {"axes": ["lr"], "metrics": [], "shown": []})
    assert "No run is finished yet" in text_of(browser, "#results")
    browser.click("#runs tbody tr")
    assert "This run has no results" in text_of(browser, "#detail") and "No map was recorded" in text_of(browser, "#detail")
    assert browser.errors == []


@pytest.mark.slow
def test_odd_values_are_shown_and_texts_stay_texts(browser, tmp_path):
    bad = "<img src=x onerror=\"document.title='bad'\"></script><b>bold</b>"
    data = fake(lrs=(1e-3, 2e-3), losses=("softmax",), encoders=("vit", "resnet"), batches=(64,), seeds=2, metrics=3, rows=6)
    first, second, third = data["runs"][:3]
    first["values"][data["metrics"][0]] = [math.nan, math.nan, math.nan, 512]
    first["axes"], second["error"], second["state"], second["values"] = {"optim.lr": None, "loss": bad}, bad, "failed", {}
    third["map"]["label"]["values"][0], third["map"]["label"]["names"], third["map"]["data"] = -1, [], "gone"
    third["curve"] = {"step": [1], "loss": [math.inf], "only": [2.0]}
    third["controls"], data["problems"] = {}, [bad]
    open_text(browser, tmp_path, data)
    assert column(browser, f"metric {data['metrics'][0]}")[0] == "NaN"
    assert bad in text_of(browser, "#runs") and bad in text_of(browser, ".problems")
    browser.click("#runs tbody tr:nth-child(3)")
    assert "class 1" in text_of(browser, "#detail") and "image of row" in text_of(browser, "#detail")
    assert not browser.js("document.querySelector('b[onerror], img[src=x]')") and browser.js("document.title").endswith("report")
    assert browser.errors == []


@pytest.mark.slow
def test_800_pixels_are_enough(browser, hundred):
    browser.resize(800, 900)
    try:
        browser.open(hundred)
        browser.wait(DRAWN)
        assert browser.js("document.documentElement.scrollWidth") <= 800  # tables scroll in their own boxes
        browser.click("#runs tbody tr")
        assert browser.js("document.querySelector('#detail').getBoundingClientRect().left") >= 0
    finally:
        browser.resize(1280, 900)
