"""The report's page in a real browser: whatever documents hold stays text, in its place."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

from hir_transforms.report.page import render_page
from pipelines import select
from tests.helpers.reports import full_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NASTY = {
    "script": "<script>document.title = 'hacked'</script><img src=x onerror=\"document.title='hacked'\">",
    "tags": "</bdi></div></body></html><h1>outside</h1><style>*{display:none}</style>",
    "control": "a\x00b\x1bc\x7fd\x85e\ufeff \ud7ff",
    "bidi": "\u202e\u2066 right to left \u05d0\u05d1\u200f and on",
    "long": "unbroken" * 131_072,
    "template": "{{ 7 * 7 }}{% raw %}&lt;b&gt;&amp;",
}


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The folder of a selection of all documents, and of none but nasty ones."""
    folder = tmp_path_factory.mktemp("report")
    lines = [{"text": f"{text} {number}", "<i>kind</i>": text} for number, text in enumerate(NASTY.values())]
    (folder / "<raw> & more.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "target.jsonl").write_text(json.dumps({"text": "and on right to left"}) + "\n")
    given = [f"--raw={folder / '<raw> & more.jsonl'}", f"--target={folder / 'target.jsonl'}", "--alpha=1"]
    settings = ["--min_example_length=0", f"--num_to_sample={len(NASTY)}", "--direct_num_workers=1"]
    settings += ["--label_field=<i>kind</i>", f"--wanted={NASTY['script']}"]
    assert select.run([*given, *settings, f"--output={folder / 'out'}"]) == 0
    return folder / "out"


class Texts(HTMLParser):
    """The elements of a page, and what is said in those of the class `text`."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.texts, self._inside = [], [], False
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._inside = ("class", "text") in attrs
        if self._inside:
            self.texts.append("")

    def handle_endtag(self, tag):
        self._inside = self._inside and tag != "bdi"

    def handle_data(self, data):
        if self._inside:
            self.texts[-1] += data


def test_texts_are_escaped_and_cut(report):
    page = (report / "report.html").read_bytes()
    assert len(page) < 300_000
    found = Texts(page.decode())
    assert {tag for tag, _ in found.elements}.isdisjoint({"script", "img", "link", "iframe"})
    assert not [name for _, attributes in found.elements for name in attributes if name.startswith("on")]
    texts = {*found.texts}
    assert f"{NASTY['script']} 0" in texts
    assert f"{NASTY['tags']} 1" in texts
    assert any(text.startswith("a\u2400b\u241bc\ufffdd\ufffde") for text in texts)
    assert any(text.startswith("unbroken" * 30) and len(text) < 310 for text in texts)
    assert f"{NASTY['template']} 5" in texts
    assert not re.search(rb"[\x00-\x08\x0b-\x1f\x7f]", page)


def test_nothing_is_loaded_from_elsewhere(report):
    page = (report / "report.html").read_text()
    assert "default-src 'none'" in page
    assert not re.search(
        r"""(src|href)=|url\(|@import|https?://""", re.sub(r"<(bdi|pre).*?</\1>", "", page, flags=re.DOTALL)
    )


BROWSER = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium: 'apt-get install chromium' (CI does)")


def seen(page, folder, width, *options):
    """What a browser makes of a page, by name."""
    # It tells in attributes, by a script of the test, which the page itself would not let run.
    probe = (
        "<script>addEventListener('load', () => { const root = document.documentElement;"
        "root.dataset.overflow = root.scrollWidth - innerWidth;"
        "root.dataset.title = document.title; root.dataset.headings = document.querySelectorAll('h1').length;"
        "root.dataset.page = getComputedStyle(document.body).backgroundColor;"
        "root.dataset.images = document.querySelectorAll('img').length;"
        "root.dataset.sections = [...document.querySelectorAll('h2')].map(one => one.innerText).join();"
        "root.dataset.charts = document.querySelectorAll('svg').length;"
        "root.dataset.texts = document.querySelectorAll('bdi.text').length })</script></body>"
    )
    probed = folder / "probed.html"
    without_policy = re.sub(r"<meta http-equiv[^>]*>", "", page)
    probed.write_text(without_policy.replace("</body>\n</html>\n", f"{probe}</html>"))
    given = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}", "--dump-dom"]
    command = [CHROMIUM, *given, *options, f"--window-size={width},900", probed.as_uri()]
    dumped = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    return dict(re.findall(r'data-(\w+)="([^"]*)"', dumped[:3000]))


@BROWSER
def test_a_browser_runs_nothing(report, tmp_path):
    page = (report / "report.html").read_text()
    told = seen(page, tmp_path, 400)
    assert int(told["overflow"]) <= 0
    assert told["title"] == "Selection of 6 documents"
    assert told["headings"] == "1"
    assert int(told["texts"]) == page.count('<bdi class="text">') > 6


@BROWSER
@pytest.mark.parametrize(("scheme", "paper"), [(0, "rgb(22, 24, 28)"), (1, "rgb(255, 255, 255)")])
def test_every_section_keeps_to_the_width_in_dark_and_light(scheme, paper, tmp_path):
    page = render_page(full_report(f"{NASTY['script']}{NASTY['bidi']} {'x' * 300}"))
    told = seen(page, tmp_path, 400, f"--blink-settings=preferredColorScheme={scheme}")
    assert int(told["overflow"]) <= 0
    assert (told["page"], told["headings"], told["images"], told["title"]) == (
        paper,
        "1",
        "0",
        "Selection of 3 documents",
    )
    assert told["sections"] == (
        "What was done,Is it good,Where the line is,Documents,What it is,How it was fitted,Settings and versions"
    )
    assert told["charts"] == "4"  # weights, lengths, what if, EM
