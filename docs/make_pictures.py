"""Makes the pictures of a report for the documentation: `python -m docs.make_pictures`; needs Chromium.

The report is of docstrings like scikit-learn's, selected from those of installed packages by n-grams alone.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from hir_transforms.commands.docstring_corpus import write_corpus
from pipelines import select

_FOLDER = Path(__file__).parent / "pictures"
# By name: the heading of the section that is shown, "" for the page from its beginning; and the height in pixels.
_PICTURES = {"report": ("", 900), "line": ("Where the line is", 1350), "content": ("What it is", 900)}
_FLAGS = ["--alpha=1", "--ngram_estimator=classifier", "--num_to_sample=150", "--min_example_length=50"]
_LABELS = ["--label_field=source", "--wanted=scikit-learn"]


def take_pictures(page: str, browser: str, folder: Path) -> None:
    """Writes the pictures of a report; what the browser needs meanwhile goes into a folder."""
    head, *sections = page.split("<h2>")
    start = head[: head.index("<h1")]
    for name, (title, height) in _PICTURES.items():
        shown = folder / f"{name}.html"
        section = next(one for one in sections if one.startswith(title))
        shown.write_text(f"{start}<h2>{section}" if title else page, "utf-8")
        given = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            f"--user-data-dir={folder / 'browser'}",
        ]
        taken = [f"--window-size=900,{height}", f"--screenshot={_FOLDER / name}.png", shown.as_uri()]
        subprocess.run([browser, *given, *taken], check=True, timeout=120)


def main() -> int:
    """Selects, and writes the pictures; returns the exit status."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        print("there is no Chromium: apt-get install chromium", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        raw, target = write_corpus(Path(folder, "docstrings"))
        flags = [f"--raw={raw}", f"--target={target}", f"--output={folder}/selected", *_FLAGS, *_LABELS]
        if status := select.run(flags):
            return status
        page = Path(folder, "selected", "report.html").read_text("utf-8")
        take_pictures(page.replace(folder, "/data"), browser, Path(folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
