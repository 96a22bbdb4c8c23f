"""Every command of the documentation runs as it stands there, on small data under the names that it uses.

A block's language says what becomes of it: `sh` is run, by the shell or, where all its commands are `hir`, each in a
process that has imported everything; `sh cluster` needs a cluster or a cloud, `sh minutes` takes some, and neither is
run. `python` is run as well, and `yaml beam` by Beam YAML.
"""

import contextlib
import gzip
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
import zstandard

from tests.helpers.commands import run_hir
from tests.helpers.notebook import needs_notebook, run_python
from tests.helpers.ports import free_port

ROOT = Path(__file__).parents[1]
PRISM = ROOT / ".tools" / "bin" / "prism"
NAMES = ("README.md", "CONTRIBUTING.md", "templates/README.md")
DOCUMENTS = [*(ROOT / name for name in NAMES), *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^ *```([^\n]*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
ELSEWHERE = re.compile(r"s3://|gs://|FlinkRunner|DataflowRunner|docker |gcloud ")
COMMAND = re.compile(r"^\s*(\.venv/|\.tools/|docker|gcloud|git|hir|make|pip|python)\b", re.MULTILINE)


class Block(NamedTuple):
    """A fenced block: its document, the line of its fence, its language and its text."""

    document: Path
    line: int
    language: str
    text: str

    def __str__(self):
        return f"{self.document.relative_to(ROOT)}:{self.line}"


def blocks():
    for document in DOCUMENTS:
        content = document.read_text("utf-8")
        for found in FENCE.finditer(content):
            yield Block(document, content.count("\n", 0, found.start()) + 1, *found.groups())


BLOCKS = list(blocks())


def of(*languages):
    return [block for block in BLOCKS if block.language in languages]


def test_nothing_is_left_out_but_what_is_marked():
    assert len(BLOCKS) == sum(document.read_text("utf-8").count("```") for document in DOCUMENTS) // 2
    languages = {"sh", "sh cluster", "sh minutes", "python", "text", "yaml", "yaml beam"}
    assert {block.language for block in BLOCKS} == languages
    assert [str(block) for block in of("text", "yaml", "yaml beam") if COMMAND.search(block.text)] == []
    assert [str(block) for block in of("sh cluster") if not ELSEWHERE.search(block.text)] == []
    lines = [line for block in of("sh minutes") for line in block.text.splitlines()]
    assert [line for line in lines if not line.startswith(("make ", "pip install "))] == []


@pytest.mark.parametrize("block", of("yaml"), ids=str)
def test_yaml_can_be_read(block):
    assert isinstance(yaml.safe_load(block.text), dict)


def write_data(folder):
    """All input that the documentation names."""
    generator = np.random.default_rng(0)

    def lines(size):
        # To a model, a number is one piece of a word.
        texts = [" ".join(map(str, generator.integers(0, 300, 120))) for _ in range(size)]
        records = ({"text": text, "content": text, "url": f"/{number}"} for number, text in enumerate(texts))
        return "".join(json.dumps(record) + "\n" for record in records).encode()

    for name, size in (("raw", 24), ("more", 12), ("target", 12), ("law", 8), ("code", 8)):
        (folder / f"{name}.jsonl").write_bytes(lines(size))
    for name in ("raw", "corpus", "wanted"):
        (folder / name).mkdir()
    for part in ("a", "b"):
        (folder / "raw" / f"{part}.jsonl").write_bytes(lines(12))
        texts = [json.loads(line)["text"] for line in lines(12).splitlines()]
        (folder / "raw" / f"{part}.csv").write_text("\n".join(["title,body", *(f"1,{text}" for text in texts)]))
        (folder / "raw" / f"{part}.jsonl.zst").write_bytes(zstandard.compress(lines(12)))
        (folder / "corpus" / f"{part}.jsonl.gz").write_bytes(gzip.compress(lines(12)))
        (folder / "wanted" / f"{part}.jsonl").write_bytes(lines(6))
        texts = [json.loads(line)["text"] for line in lines(180).splitlines()]
        pq.write_table(pa.table({"text": texts}), folder / "raw" / f"{part}.parquet", row_group_size=100)
        np.save(folder / f"raw-{part}.npy", generator.normal(size=(12, 8)).astype(np.float32))
    rows = list(generator.normal(size=(12, 8)))
    pq.write_table(pa.table({"embedding": rows}), folder / "target.parquet")


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory):
    """The folder in which all commands of a document run, one after the other."""
    folders = {}

    def folder_of(document):
        if document not in folders:
            folder = folders[document] = tmp_path_factory.mktemp(document.stem)
            write_data(folder)
            binaries = folder / ".venv" / "bin"
            binaries.mkdir(parents=True)
            start = "from pipelines.__main__ import main; import sys; sys.exit(main())"
            for name, command in (("python", ""), ("hir", f"-P -c '{start}'")):
                (binaries / name).write_text(f'#!/bin/sh\nexec {sys.executable} {command} "$@"\n')
                (binaries / name).chmod(0o755)
            (folder / ".tools").symlink_to(ROOT / ".tools")
        return folders[document]

    return folder_of


def fitted(text):
    """A block with numbers that small data can give, and free ports."""
    text = re.sub(r"(--num_to_sample) \d+", r"\1 5", text)
    text = re.sub(r"(--num_tokens_to_sample) \d+", r"\1 700", text)
    for port in ("50000", "8073"):
        text = text.replace(port, str(free_port()))
    return text


def commands(text):
    """The arguments of each command, as a shell would split them."""
    lines = text.replace("\\\n", "").splitlines()
    return [arguments for line in lines if (arguments := shlex.split(line, comments=True))]


def run_by_shell(text, folder, printed):
    """Runs a block as it stands there; returns the exit status."""
    path = os.pathsep.join([str(folder / ".venv" / "bin"), os.environ["PATH"]])
    with printed.open("wb") as file:
        process = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=folder,
            env=os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        return process.wait()
    finally:
        with contextlib.suppress(ProcessLookupError):  # what it has started beside
            os.killpg(process.pid, signal.SIGTERM)


@pytest.mark.parametrize("block", of("sh"), ids=str)
def test_every_command_runs(block, folder_of):
    if re.search("prism", block.text, re.IGNORECASE) and not PRISM.is_file():
        pytest.skip(f"Prism is not installed ({PRISM}): 'make tools' builds it, which needs Go")
    folder, text = folder_of(block.document), fitted(block.text)
    printed = folder / "printed"
    if all(name == "hir" for name, *_ in commands(text)):
        failed = [arguments for _, *arguments in commands(text) if run_hir(arguments, folder, printed)]
    else:
        failed = run_by_shell(text, folder, printed)
    assert not failed, printed.read_text()


@needs_notebook
@pytest.mark.parametrize("block", of("yaml beam"), ids=str)
def test_every_pipeline_of_beam_yaml_runs(block, folder_of):
    folder = folder_of(block.document)
    (folder / "pipeline.yaml").write_text(block.text)
    flags = ["--yaml_pipeline_file=pipeline.yaml", "--runner=DirectRunner"]
    run_python("-m", "apache_beam.yaml.main", *flags, cwd=folder)
    texts_of = lambda path: {json.loads(line)["text"] for line in path.read_text().splitlines()}
    (written,) = folder.glob("selected.jsonl-*")
    assert len(texts_of(written)) == 5
    assert texts_of(written) < texts_of(folder / "raw.jsonl")


@pytest.mark.parametrize("block", of("python"), ids=str)
def test_every_program_runs(block, tmp_path):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", block.text]
    process = subprocess.run(command, cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL, capture_output=True)
    assert process.returncode == 0, process.stderr.decode()
    assert process.stdout
