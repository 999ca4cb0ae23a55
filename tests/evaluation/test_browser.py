"""The pages in a real browser, headless Chromium: layout, errors, and what they ask of others."""

import json
import re
import shutil
import subprocess
from html import unescape

import pytest

from evaluation.ladder_sheet import ladder_sheet
from evaluation.tearsheet import tear_sheet

WIDTHS = (390, 1280)
CHARTS = {"tear sheet": 8, "ladder": 3}

WATCH = """<script>
const seen = {errors: [], shifts: 0};
addEventListener("error", (e) => seen.errors.push(e.message || "a resource did not load"), true);
addEventListener("securitypolicyviolation", (e) => seen.errors.push(`refused: ${e.blockedURI}`));
for (const kind of ["error", "warn"]) console[kind] = (...a) => seen.errors.push(a.join(" "));
new PerformanceObserver((l) => { for (const e of l.getEntries()) seen.shifts += e.value; })
  .observe({type: "layout-shift", buffered: true});
</script>"""

REPORT = """<script>
addEventListener("load", () => setTimeout(() => {
  const root = document.documentElement;
  const inside = (e) => e.getBoundingClientRect().left >= 0 && e.getBoundingClientRect().right <= innerWidth;
  seen.before = root.scrollWidth;
  seen.tips = [...document.querySelectorAll(".plot")].map((plot, i) => {
    const box = plot.getBoundingClientRect();
    const at = {clientX: box.left + box.width * (i % 2 ? 0.98 : 0.02), clientY: box.top + 5};
    plot.dispatchEvent(new PointerEvent("pointermove", at));
    const tip = plot.querySelector(".tip");
    return {text: tip.innerText, inside: inside(tip)};
  });
  seen.width = innerWidth;
  seen.after = root.scrollWidth;
  seen.outside = [...document.querySelectorAll("body *:not(.wide *):not(svg *)")]
    .filter((e) => e.getClientRects().length && !inside(e)).map((e) => e.outerHTML.slice(0, 80));
  seen.resources = performance.getEntriesByType("resource").map((r) => r.name).filter((n) => !n.startsWith("data:"));
  const log = document.querySelector(".log");
  const visible = (style) => getComputedStyle(document.querySelector("svg." + style)).display != "none";
  const shown = () => ["linear", "logarithmic"].filter(visible);
  seen.scales = [shown()];
  log.click();
  seen.scales.push(shown());
  seen.background = getComputedStyle(document.body).backgroundColor;
  const wide = document.querySelector(".wide"), names = wide.querySelectorAll("tbody th[scope=row]");
  wide.scrollLeft = 1e6;
  const left = wide.getBoundingClientRect().left;
  seen.names = [...names].map((name) => name.getBoundingClientRect().left - left);
  seen.scrolled = wide.scrollLeft;
  parent.postMessage(JSON.stringify(seen), "*");
}, 100));
</script>"""

# A window cannot be as narrow as a phone, a frame can.
FRAME = """<!doctype html><meta name="color-scheme" content="light dark"><pre id="seen"></pre>
<script>addEventListener("message", (e) => { document.getElementById("seen").textContent = e.data; });</script>
<iframe src="page.html" style="width:{width}px;height:2000px;border:0"></iframe>"""


@pytest.fixture(scope="module")
def chromium():
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("no Chromium is installed")
    return found


@pytest.fixture(scope="module")
def pages(host_result, ladder):
    return {"tear sheet": tear_sheet(host_result), "ladder": ladder_sheet(ladder)}


@pytest.fixture(
    scope="module",
    params=[(page, width, dark) for page in CHARTS for width in WIDTHS for dark in (False, True)],
    ids=str,
)
def seen(request, chromium, pages, tmp_path_factory):
    """What a browser of that width and colour scheme saw of the page."""
    page, width, dark = request.param
    folder = tmp_path_factory.mktemp("browser")
    html = pages[page].replace("<head>", "<head>" + WATCH).replace("</body>", REPORT + "</body>")
    (folder / "page.html").write_text(html)
    frame = folder / "frame.html"
    frame.write_text(FRAME.replace("{width}", str(width)))
    command = [
        chromium,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
        "--hide-scrollbars",
        f"--blink-settings=preferredColorScheme={0 if dark else 1}",
        f"--user-data-dir={folder / 'profile'}",
        "--window-size=1400,2100",
        "--virtual-time-budget=2000",
        "--dump-dom",
        frame.as_uri(),
    ]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    return json.loads(unescape(re.search(r'<pre id="seen">(.*?)</pre>', dom, re.DOTALL)[1])) | {
        "page": page,
        "asked": width,
        "dark": dark,
    }


def test_nothing_is_wider_than_the_window(seen):
    assert seen["width"] == seen["asked"]
    assert seen["before"] == seen["after"] == seen["width"]
    assert seen["outside"] == []


def test_names_of_rows_stay_in_sight_where_a_wide_table_is_scrolled(seen):
    assert (seen["scrolled"] > 0) == (seen["asked"] == 390)
    assert len(seen["names"]) >= 3 and all(0 <= left < 1 for left in seen["names"])  # half a border at most


def test_there_is_no_error_and_no_request(seen):
    assert seen["errors"] == []
    assert seen["resources"] == []


def test_nothing_moves_while_the_page_loads(seen):
    assert seen["shifts"] < 0.01  # not quite zero where rows of a table arrive after its first picture


def test_every_chart_has_values_under_the_pointer(seen):
    assert len(seen["tips"]) == CHARTS[seen["page"]]
    for tip in seen["tips"]:
        assert re.match(r"20\d\d-\d\d-\d\d\n\S", tip["text"]) and tip["inside"], tip
        assert "NaN" not in tip["text"] and "undefined" not in tip["text"]


def test_the_box_switches_between_logarithmic_and_linear(seen):
    assert seen["scales"] == [["logarithmic"], ["linear"]]


def test_dark_is_dark_and_light_is_light(seen):
    levels = [int(level) for level in re.findall(r"\d+", seen["background"])]
    assert max(levels) < 60 if seen["dark"] else min(levels) > 200
