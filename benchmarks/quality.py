"""The table of record of the selection's quality: precision of each estimator, by target and by its size.

    python -m benchmarks.quality --documents labelled.jsonl --label_field source --target_sizes 400,100,20

Each label with enough documents is the target in turn: some of its documents, drawn at random, become the target, at
most half of them; all others are raw, in which those of the label are wanted. As many are selected as there are wanted
ones (`--top_k`), and precision is the share of wanted ones among them. Labels are not shown to the selection.
Embeddings are computed once, or given, and given to the runs. Every run of `hir select` fits anew; seconds are those
of the whole command, and of `hir fit`, which is run for the first label alone. Other flags of both may follow.
"""

import argparse
import collections
import contextlib
import io
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from hir_transforms.embeddings.shards import iter_shard
from pipelines import embed, fit, select

# Rows of the table, by the flags that make them.
ESTIMATORS = {
    "DSIR: ratio": "--alpha=1",
    "ratio per token, Laplace 1": "--alpha=1 --weight_per_token --target_laplace_smoothing=1",
    "n-gram classifier": "--alpha=1 --ngram_estimator=classifier",
    "mixtures, all dimensions": "--alpha=0",
    "mixtures, 16 dimensions": "--alpha=0 --embedding_dim=16",
    "embedding classifier": "--alpha=0 --embedding_estimator=classifier",
    "defaults: ratio and mixtures": "--alpha=0.5",
    "both classifiers, alpha 0.5": "--alpha=0.5 --ngram_estimator=classifier --embedding_estimator=classifier",
    "auto": "--alpha=auto --ngram_estimator=auto --embedding_estimator=auto --embedding_dim=auto",
}


@dataclass(frozen=True)
class Corpus:
    """Labelled documents: their lines, labels and embeddings, float32 [N, D]."""

    lines: list[bytes]
    labels: list[str]
    rows: np.ndarray


@dataclass(frozen=True)
class Draw:
    """One draw of a target: the flags that name its files, the wanted label, and how many documents of raw have it."""

    inputs: list[str]
    label: str
    num_wanted: int


@dataclass(frozen=True)
class Measured:
    """What one estimator found in one draw; a line of the file of results."""

    estimator: str
    target_size: int
    label: str
    seed: int
    precision: float
    seconds: float
    fit_seconds: float | None

    @property
    def of(self) -> tuple[str, int, str, int]:
        """What was measured."""
        return self.estimator, self.target_size, self.label, self.seed


def run_quietly(run: Callable[[list[str]], int], flags: list[str]) -> float:
    """Runs a command silently; returns its seconds, raises `SystemExit` with what it printed if it fails."""
    printed = io.StringIO()
    begin = time.perf_counter()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        status = run(flags)
    if status:
        sys.exit(printed.getvalue())
    return time.perf_counter() - begin


def read_corpus(path: Path, label_field: str, embeddings: Path | None) -> Corpus:
    """The documents of a jsonl file, and their embeddings: given ones in a .npy file, or computed."""
    lines = path.read_bytes().splitlines(keepends=True)
    labels = [str(json.loads(line)[label_field]) for line in lines]
    return Corpus(lines, labels, np.load(embeddings) if embeddings else compute_embeddings(path, lines))


def compute_embeddings(path: Path, lines: list[bytes]) -> np.ndarray:
    """The embeddings of a file's lines by the default model, float32 [N, D]."""
    starts = {offset: i for i, offset in enumerate(itertools.accumulate(map(len, lines), initial=0))}
    rows: dict[int, np.ndarray] = {}
    with tempfile.TemporaryDirectory() as work:
        run_quietly(embed.run, [f"--raw={path}", f"--work_dir={work}"])
        for shard in Path(work).glob("embeddings/raw/*.avro"):
            for batch in iter_shard(str(shard)):
                rows |= zip((starts[offset] for offset in batch.offsets.tolist()), batch.rows, strict=True)
    return np.stack([rows[i] for i in range(len(lines))])


def draw(corpus: Corpus, label: str, target_size: int, seed: int, folder: Path) -> Draw:
    """Writes raw and target of a draw, and their embeddings, into the folder."""
    of_label = np.flatnonzero(np.array(corpus.labels) == label)
    rng = np.random.default_rng([seed, target_size])
    target = rng.permutation(of_label)[: min(target_size, len(of_label) // 2)]
    inputs = []
    for role, members in (("raw", np.setdiff1d(np.arange(len(corpus.lines)), target)), ("target", np.sort(target))):
        (folder / f"{role}.jsonl").write_bytes(b"".join(corpus.lines[i] for i in members.tolist()))
        np.save(folder / f"{role}.npy", corpus.rows[members])
        inputs += [f"--{role}={folder}/{role}.jsonl", f"--{role}_embeddings={folder}/{role}.npy"]
    return Draw(inputs, label, len(of_label) - len(target))


def count_wanted(output: Path, label_field: str, wanted: str) -> int:
    """Number of selected documents of the wanted label."""
    lines = (line for part in sorted(output.glob("part-*.jsonl")) for line in part.read_bytes().splitlines())
    return sum(str(json.loads(line)[label_field]) == wanted for line in lines)


def measure(drawn: Draw, flags: list[str], label_field: str, *, fits: bool) -> tuple[float, float, float | None]:
    """Precision, seconds of `select` with these flags, and of `fit` if that is to be run as well."""
    inputs = drawn.inputs
    if "--alpha=1" in flags:  # which takes no embeddings
        inputs = [flag for flag in inputs if "_embeddings=" not in flag]
    output = [f"--num_to_sample={drawn.num_wanted}", "--top_k", "--min_example_length=0"]
    with tempfile.TemporaryDirectory() as folder:
        of_fit = [flag for flag in flags if flag != "--weight_per_token"]  # which changes nothing that is fitted
        fitting = run_quietly(fit.run, [*inputs, f"--work_dir={folder}/fit", *of_fit]) if fits else None
        selecting = run_quietly(select.run, [*inputs, f"--output={folder}/out", *output, *flags])
        found = count_wanted(Path(folder, "out"), label_field, drawn.label)
    return found / drawn.num_wanted, selecting, fitting


def frequent(labels: Sequence[str], least: int) -> list[str]:
    """The labels of at least so many documents, the commonest first."""
    return [label for label, count in collections.Counter(labels).most_common() if count >= least]


def measurements(
    corpus: Corpus, wanted: Sequence[tuple[str, int, str, int]], fitted: str, label_field: str, more: list[str]
) -> Iterator[Measured]:
    """Measures (estimator, target size, label, seed) in turn, `fit` too for the label `fitted`."""
    for (size, label, seed), of_draw in itertools.groupby(wanted, key=lambda one: one[1:]):
        with tempfile.TemporaryDirectory() as folder:
            drawn = draw(corpus, label, size, seed, Path(folder))
            for estimator, *_ in of_draw:
                flags = [*ESTIMATORS[estimator].split(), *more]
                yield Measured(estimator, size, label, seed, *measure(drawn, flags, label_field, fits=label == fitted))


def tables(found: Sequence[Measured], labels: Sequence[str]) -> Iterator[Table]:
    """A table for each size of the target: means over draws, and over labels."""
    for size in sorted({one.target_size for one in found}, reverse=True):
        draws = len({one.seed for one in found})
        title = f"{size} target documents at most, draws: {draws}"
        table = Table("estimator", *labels, "mean", "seconds", "of fit", title=title)
        for estimator in ESTIMATORS:
            rows = [one for one in found if (one.estimator, one.target_size) == (estimator, size)]
            if rows:
                of_label = [np.mean([one.precision for one in rows if one.label == label]) for label in labels]
                of_fit = [one.fit_seconds for one in rows if one.fit_seconds is not None]
                seconds = (np.mean([one.seconds for one in rows]), np.mean(of_fit))
                precisions = (f"{mean:.3f}" for mean in (*of_label, np.mean(of_label)))
                table.add_row(estimator, *precisions, *(f"{mean:.1f}" for mean in seconds))
        yield table


def main(argv: Sequence[str] | None = None) -> None:
    """Measures what is not measured yet and prints a table for each size of the target."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0], allow_abbrev=False)
    parser.add_argument("--documents", required=True, type=Path, help="jsonl of labelled documents")
    parser.add_argument("--label_field", required=True, help="JSON field of the labels")
    parser.add_argument("--embeddings", type=Path, help=".npy with a row for each document; computed by default")
    parser.add_argument("--results", type=Path, help="a file that keeps what is measured: it is not measured again")
    parser.add_argument("--target_sizes", default="400,100,20")
    parser.add_argument("--least_documents", type=int, default=150, help="of a label that is to be a target")
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--estimators", default=";".join(ESTIMATORS), help="names of rows, with ; between them")
    arguments, more = parser.parse_known_args(argv)
    corpus = read_corpus(arguments.documents, arguments.label_field, arguments.embeddings)
    labels = frequent(corpus.labels, arguments.least_documents)
    sizes = [int(size) for size in arguments.target_sizes.split(",")]
    wanted = [
        (estimator, size, label, seed)
        for seed, size, label, estimator in itertools.product(
            range(arguments.draws), sizes, labels, arguments.estimators.split(";")
        )
    ]
    found = []
    if arguments.results and arguments.results.exists():
        found = [Measured(**json.loads(line)) for line in arguments.results.read_text().splitlines()]
    measured = {one.of for one in found}
    with open(arguments.results, "a") if arguments.results else contextlib.nullcontext() as kept:
        missing = [one for one in wanted if one not in measured]
        for one in measurements(corpus, missing, labels[0], arguments.label_field, more):
            found.append(one)
            print(json.dumps(vars(one)), file=kept or sys.stderr, flush=True)
    for table in tables([one for one in found if one.of in {*wanted}], labels):
        Console(width=200).print(table)


if __name__ == "__main__":
    main()
