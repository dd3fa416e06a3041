"""The report: its pages, what they say of each verdict, and how they behave in a browser."""

import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from click.testing import CliRunner

from figures.engine import site
from mdpkit import papers
from mdpkit.cli import group
from theory_checks.engine import status, tables
from theory_checks.engine.claims import INCONCLUSIVE, REFUTED
from theory_checks.engine.runner import verify_all
from theory_checks.engine.store import Store

pytestmark = pytest.mark.xdist_group("site")
SLUG = "planning-basics"
PHONE, DESKTOP = (390, 844), (1280, 900)
FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
         "--disable-background-networking", "--disable-component-update"]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("rows") / "rows.sqlite"


@pytest.fixture(scope="module")
def verdicts(store):
    """Quick ones of a few claims; full ones with each label."""
    with Store(store) as kept:
        quick = verify_all(papers.get(SLUG).checks[:4], store=kept)
    v = quick[0]
    refuted = replace(v, rigor="full", decision=replace(v.decision, verdict=REFUTED))
    open_ = replace(quick[1], rigor="full", decision=replace(v.decision, verdict=INCONCLUSIVE, needs=700))
    unproven = replace(quick[2], rigor="full", controls=(replace(v.controls[0], decision=v.decision),))
    return {"quick": quick, "full": [refuted, open_, unproven, replace(quick[3], rigor="full")]}


@pytest.fixture(scope="module")
def built(verdicts, tmp_path_factory):
    """Two papers: one at full with a figure of its own, one at quick without."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "figures").mkdir()
    for kind in ("pdf", "png", "svg", "npz", "csv"):
        (folder / "figures" / f"{SLUG}.{kind}").write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
    other = [replace(v, check=replace(v.check, claim=replace(v.check.claim, slug="hyq"))) for v in verdicts["quick"]]
    docs = Path(__file__).parents[2] / "docs"
    site.build([site.Page("hyq", {"quick": other}, figure=False, trouble="its rows are missing"),
                site.Page(SLUG, verdicts)], folder, calibration=docs / "calibration.json", benchmarks=None)
    return folder


class Reader(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.links, self.ids, self.images, self.heads = [], set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.links += [found[k] for k in ("href", "src") if k in found]
        self.ids |= {found["id"]} if "id" in found else set()
        self.images += [found] if tag == "img" else []
        self.heads += [tag] if re.fullmatch("h[1-6]", tag) else []


def test_every_link_of_every_page_leads_somewhere_in_the_folder(built):
    pages = sorted(built.rglob("*.html"))
    assert len(pages) == 5 + 2
    for page in pages:
        for link in Reader(page.read_text()).links:
            parts = urlsplit(link)
            if parts.scheme == "data":
                continue
            assert not parts.scheme and not parts.netloc, f"{page.name} needs the network: {link}"
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            assert target.is_file(), f"{page.name}: {link}"
            if parts.fragment:
                assert parts.fragment in Reader(target.read_text()).ids, f"{page.name}: {link}"


def test_pages_are_accessible(built):
    for page in built.rglob("*.html"):
        text = page.read_text()
        found = Reader(text)
        assert 'lang="en"' in text and 'name="viewport"' in text
        assert found.heads.count("h1") == 1
        levels = [int(h[1]) for h in found.heads]
        assert all(b <= a + 1 for a, b in pairwise(levels)), "no level of headings is skipped"
        assert all(len(i.get("alt", "")) > 10 for i in found.images)


def test_each_verdict_is_said_in_words_signs_and_rigor(built, verdicts):
    text = (built / "papers" / f"{SLUG}.html").read_text()
    for label in site.LABELS:
        kind = label.lower().replace(" ", "-")
        assert re.search(rf'class="badge {kind} full"><span aria-hidden="true">{re.escape(site.SIGNS[label])}</span>'
                         rf"\s*{label}", text), label
    assert 'class="badge supported quick"' in text
    assert "not caught" in text and "about 700 runs" in text
    for v in verdicts["full"]:
        assert f'id="{v.check.claim.id}"' in text
        assert f"mdpkit check {SLUG}/{v.check.claim.id} --rigor full" in text
    assert papers.get(SLUG).paper.title in text and "<math>" in text


def test_a_page_without_a_figure_says_why(built):
    assert "its rows are missing" in (built / "papers" / "hyq.html").read_text()
    assert "hyq.svg" not in (built / "gallery.html").read_text()


def test_missing_tables_say_how_they_are_made(built):
    assert "make bench" in (built / "benchmarks.html").read_text()
    assert "Clopper-Pearson" in (built / "calibration.html").read_text()


def test_data_beside_the_pages(built):
    found = json.loads((built / "data" / "verdicts.json").read_text())
    assert len(found) == 12 and {v["verdict"] for v in found} == set(site.LABELS)
    assert (built / "data" / "verdicts.csv").read_text().count("\n") == 13


@pytest.mark.parametrize(("x", "text"), [(0.05, "0.05"), (1.5e-14, "1.5·10⁻¹⁴"), (-2.0, "−2"), (float("inf"), "∞"),
                                         (float("nan"), "–"), (None, "–"), (3, "3"), (1e5, "1·10⁵")])
def test_numbers(x, text):
    assert site.number(x) == text


# tables

def test_tables(verdicts):
    every = verdicts["full"]
    cells = tables.lines(every)
    assert [c[3] for c in cells] == [REFUTED, INCONCLUSIVE, "UNPROVEN CHECK", "SUPPORTED"]
    assert cells[2][-1] == "0/1"
    assert tables.markdown(every).count("\n") == len(every) + 2
    tex = tables.latex(every)
    assert tex.count(r"\\") == len(every) + 1 and r"\toprule" in tex and "_" not in tex.replace(r"\_", "")
    frame = pytest.importorskip("pandas") and tables.frame(every)
    assert list(frame["verdict"]) == [c[3] for c in cells] and list(frame["caught"])[2] == 0


def test_special_characters_in_tex(verdicts):
    v = verdicts["quick"][0]
    odd = replace(v, check=replace(v.check, claim=replace(v.check.claim, id="50%_of{x}&^~\\")))
    assert r"50\%\_of\{x\}\&\textasciicircum{}\textasciitilde{}\textbackslash{}" in tables.latex([odd])


def test_status_page(verdicts):
    text = status.markdown({SLUG: verdicts, "hyq": {"quick": verdicts["quick"]}})
    assert "2 papers, 8 claims" in text and "1 REFUTED" in text and "UNPROVEN CHECK" in text
    assert text.count("| –") == 4, "hyq was not run at full"


# the command

def test_the_command_writes_the_site_and_tells_where(tmp_path, store):
    out = tmp_path / "report"
    said = CliRunner().invoke(group, ["report", SLUG, "--out", str(out), "--workers", "0", "--store", str(store),
                                      "--status", str(tmp_path / "STATUS.md")])
    assert said.exit_code == 0, said.output
    assert said.output.strip().endswith(f"report: {out.resolve() / 'index.html'}")
    assert (out / "figures" / f"{SLUG}.svg").is_file() and "SUPPORTED" in (tmp_path / "STATUS.md").read_text()


# in a browser

@pytest.fixture(scope="module")
def browser():
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    chromium, driver = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("chromium and chromedriver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    try:
        found = webdriver.Chrome(options, webdriver.ChromeService(driver))
    except webdriver.remote.errorhandler.WebDriverException as e:
        pytest.skip(f"the browser does not start here: {e.msg}")
    yield found
    found.quit()


def see(browser, page, size):
    """Open a page at a width that headless windows do not reach by themselves."""
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": size[0], "height": size[1],
                                                                   "deviceScaleFactor": 1, "mobile": False})
    browser.get(page.as_uri())


@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_every_page_loads_without_an_error_and_fits(browser, built, size):
    for page in sorted(built.rglob("*.html")):
        see(browser, page, size)
        assert browser.get_log("browser") == [], page.name
        wide = browser.execute_script("return document.documentElement.scrollWidth")
        assert wide <= size[0], f"{page.name} is {wide} wide on a screen of {size[0]}"


def rows(browser):
    return [r.find_element("css selector", "a").text for r in browser.find_elements("css selector", "#papers tbody tr")
            if r.is_displayed()]


def test_the_index_sorts_and_filters(browser, built):
    see(browser, built / "index.html", DESKTOP)
    assert rows(browser) == ["hyq", SLUG]
    heads = browser.find_elements("css selector", "#papers thead button")
    heads[0].click()
    assert rows(browser) == [SLUG, "hyq"]
    assert browser.find_element("css selector", "th[aria-sort]").get_attribute("aria-sort") == "descending"
    heads[1].click()
    assert rows(browser) == ["hyq", SLUG], "offline before planning"
    refuted = next(h for h in heads if h.text == "Refuted")
    refuted.click()
    refuted.click()
    assert rows(browser) == [SLUG, "hyq"], "numbers as numbers, most first"
    query = browser.find_element("id", "query")
    query.send_keys("hybrid song")
    assert rows(browser) == ["hyq"] and browser.find_element("id", "shown").text == "1 paper"
    query.clear()
    query.send_keys(" ")
    browser.find_element("css selector", "input[value=REFUTED]").click()
    assert rows(browser) == [SLUG]


def test_the_keyboard_reaches_everything_and_sorts(browser, built):
    from selenium.webdriver.common.keys import Keys

    see(browser, built / "index.html", DESKTOP)
    browser.find_element("css selector", "body").send_keys(Keys.TAB)
    assert browser.switch_to.active_element.text == "Skip to the content"
    button = browser.find_element("css selector", "#papers thead button")
    button.send_keys(Keys.ENTER)
    assert rows(browser) == [SLUG, "hyq"]


CONTRAST = """
const channel = (c) => { c /= 255; return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; };
const light = (s) => { const [r, g, b] = s.match(/[\\d.]+/g).map(Number);
  return 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b); };
const ground = (e) => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
  if (!/^rgba.*, 0\\)$/.test(c)) return c; } return 'rgb(255, 255, 255)'; };
let worst = [99, ''];
for (const e of document.querySelectorAll('main *, header *, footer *')) {
  if (![...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim())) continue;
  const [a, b] = [light(getComputedStyle(e).color), light(ground(e))];
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < worst[0]) worst = [ratio, e.outerHTML.slice(0, 90)];
}
return worst;
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(browser, built, scheme):
    """WCAG AA asks for 4.5."""
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme",
                                                                         "value": scheme}]})
    for page in (built / "index.html", built / "papers" / f"{SLUG}.html"):
        see(browser, page, DESKTOP)
        ratio, where = browser.execute_script(CONTRAST)
        assert ratio >= 4.5, where
