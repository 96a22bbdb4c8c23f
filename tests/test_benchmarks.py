"""Every benchmark runs from start to end, on data of a size at which its numbers say nothing."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.quality import ESTIMATORS
from hir_transforms.settings.flags import config_of, parse_options
from tests.helpers.corpora import jsonl

NAMES = {path.stem for path in (Path(__file__).parents[1] / "benchmarks").glob("[!_]*.py")}
ARGUMENTS = {
    "embeddings": ["--raw={raw}", "--documents=5"],
    "kernel": ["--raw={raw}", "--repetitions=1", "--rows=cache entries compared as a vector"],
    "mixture": ["--data=separate", "--rows=200", "--features=4", "--components=4", "--iterations=1", "--workers=1"],
    "ngrams": ["--raw={raw}", "--target={target}", "--sizes=0.05", "--num_to_sample=20", "--hashes=fast"],
    "quality": ["--documents={raw}", "--embeddings={folder}/raw.npy", "--label_field=source", "--target_sizes=20"],
    "resample": ["--folder={folder}", "--millions=0.002", "--peer_mb=1", "--peer_k=10", "--processes=1"],
}
MORE = {
    "quality": [
        *("--estimators=n-gram classifier;embedding classifier", "--least_documents=50", "--draws=1"),
        *("--results={folder}/results", "--direct_num_workers=1", "--no_progress"),
    ]
}


def test_every_benchmark_is_run():
    assert ARGUMENTS.keys() == NAMES


def test_static_embeddings_are_those_of_the_library(static_folder, tmp_path, capsys):
    texts = [f"word{number % 7} of the war " * 60 for number in range(20)]
    (tmp_path / "raw.jsonl").write_bytes(jsonl(texts))
    arguments = [f"--raw={tmp_path / 'raw.jsonl'}", "--documents=10", f"--static={static_folder}"]
    importlib.import_module("benchmarks.embeddings").main(arguments)
    assert "StaticModel.encode" in (printed := capsys.readouterr().out)
    assert "largest difference of a coordinate: 0.0e+00" in printed


@pytest.mark.parametrize("name", ARGUMENTS)
def test_it_runs_to_its_end(name, tmp_path, capsys):
    paths = {"folder": tmp_path, "raw": tmp_path / "raw.jsonl", "target": tmp_path / "target.jsonl"}
    for role, size in (("raw", 60 if name == "ngrams" else 200), ("target", 20)):
        lines = [
            json.dumps({"text": f"word{number % 7} of {role} " * 60, "source": "ab"[number % 2]}) + "\n"
            for number in range(size)
        ]
        paths[role].write_text("".join(lines))
    np.save(tmp_path / "raw.npy", np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32))
    arguments = [argument.format(**paths) for argument in [*ARGUMENTS[name], *MORE.get(name, [])]]
    importlib.import_module(f"benchmarks.{name}").main(arguments)
    assert len(capsys.readouterr().out.splitlines()) > 3


@pytest.mark.parametrize("flags", ESTIMATORS.values(), ids=[*ESTIMATORS])
def test_every_row_of_the_table_of_quality_can_be_run(flags):
    needed = ["--raw=/r", "--target=/t", "--output=/o", "--num_to_sample=5"]
    config = config_of(parse_options([*needed, *flags.split()], "select"), "select")
    assert bool(config.auto) == ("auto" in flags)
