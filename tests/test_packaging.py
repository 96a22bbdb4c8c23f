"""The package that `--setup_file=./setup.py` gives to workers, alone in an environment of its own."""

import os
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path

import pytest
from apache_beam.runners.portability.stager import Stager

from tests.helpers.corpora import jsonl

ROOT = Path(__file__).parents[1]
MODULES = {
    str(path.relative_to(ROOT))
    for package in ("hir_transforms", "pipelines")
    for path in (ROOT / package).rglob("*.py")
}


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    """Built by Beam's own stager."""
    return Path(Stager._build_setup_package(str(ROOT / "setup.py"), str(tmp_path_factory.mktemp("sdist"))))


def test_the_package_holds_every_module(sdist):
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names >= MODULES
    assert not {name for name in names if name.startswith(("tests/", "benchmarks/"))}


def test_the_package_alone_runs_a_stage(sdist, tmp_path):
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    python = environment / "bin" / "python"
    # The dependencies are those installed here. A .pth file adds a folder but not the .pth files in it, one of which
    # would lead to this copy of the project.
    folder = subprocess.check_output(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True
    )
    Path(folder.strip(), "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    install = ["install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--ignore-installed"]
    subprocess.run([sys.executable, "-m", "pip", "--python", python, *install, sdist], check=True)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "raw.jsonl").write_bytes(jsonl([f"some words of document {number}" for number in range(20)]))
    options = ["--raw=raw.jsonl", "--target=raw.jsonl", "--output=out", "--num_to_sample=5", "--alpha=1"]
    where = "import hir_transforms, pipelines; print(hir_transforms.__file__, pipelines.__file__)"
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    files = subprocess.check_output([python, "-c", where], cwd=elsewhere, env=variables, text=True).split()
    assert all(Path(file).is_relative_to(environment) for file in files)
    subprocess.run(
        [python, "-m", "pipelines.select", *options, "--min_example_length=0", "--direct_num_workers=2"],
        cwd=elsewhere,
        env=variables,
        check=True,
    )
    assert len((elsewhere / "out" / "part-00000-of-00001.jsonl").read_bytes().splitlines()) == 5
