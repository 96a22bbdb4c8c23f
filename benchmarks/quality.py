"""The table of record of the selection's quality: precision of each estimator, by target and by its size.

    python -m benchmarks.quality --documents labelled.jsonl --label_field source --target_sizes 400,100,20

Each label with enough documents is the target in turn: some of its documents, drawn at random, become the target, at
most half of them; all others are raw, in which those of the label are wanted. The precision is the share of wanted
ones among the best of raw, as many as there are wanted ones. Labels are not shown to the estimators.

The estimators are those of `hir select`, fitted in this process to n-grams and embeddings that are computed once, or
given. So a corpus must be small enough for all of it to be fitted to. At last, from the first draw of the first label,
the commands themselves select: the table has their seconds, of the clock and of processors, for `hir select` and for
`hir fit`, each from an empty work folder, and the precision, which differs by chance, as folds and the starts of
mixtures depend on names of files. Other flags of both may follow.
"""

import argparse
import collections
import contextlib
import io
import itertools
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table
from scipy import sparse

from hir_transforms.classifiers.logistic import NUM_FOLDS, folds_of
from hir_transforms.common.threads import use_one_thread
from hir_transforms.embeddings.shards import iter_shard
from hir_transforms.graph.trials import choices_of, trial_settings
from hir_transforms.ngrams.document_counts import document_hashes
from hir_transforms.ngrams.features import NgramFeaturizer, NgramSettings
from hir_transforms.settings.flags import config_of, parse_options
from hir_transforms.tuning.candidates import EmbeddingMethod
from hir_transforms.tuning.fits import Documents, FitSettings, Sides, judge, judge_fold
from hir_transforms.tuning.holdout import Fold, Judged, best, try_candidates
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
# What the settings cannot do without; nothing is read from there or written.
_NEEDED = ("--raw=raw.jsonl", "--target=target.jsonl", "--output=output", "--num_to_sample=1")
_SEED = 0

# Values of settings, by name.
Chosen = dict[str, float | str | int | None]
# Estimator, size of the target, label, seed, and whether it is the commands that are run.
Task = tuple[str, int, str, int, bool]


@dataclass(frozen=True)
class Corpus:
    """Labelled documents: their lines, their labels, and what the estimators see of them."""

    lines: list[bytes]
    labels: np.ndarray
    documents: Documents


@dataclass(frozen=True)
class Draw:
    """A target drawn from the documents of a label: which documents are its, and which of raw's are wanted.

    Attributes:
        target: bool [N], of a corpus' documents.
        wanted: bool [N]; they are raw's.
    """

    target: npt.NDArray[np.bool_]
    wanted: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, labels: np.ndarray, label: str, target_size: int, seed: int) -> "Draw":
        """At most so many documents of a label, and half of them."""
        of_label = labels == label
        drawn = np.random.default_rng([seed, target_size]).permutation(np.flatnonzero(of_label))
        target = np.zeros(len(labels), np.bool_)
        target[drawn[: min(target_size, len(drawn) // 2)]] = True
        return cls(target, of_label & ~target)

    @property
    def num_wanted(self) -> int:
        """As many documents are selected."""
        return int(self.wanted.sum())

    def write(self, corpus: Corpus, folder: Path) -> list[str]:
        """Writes raw and target, and their embeddings, into a folder; returns the flags that name them."""
        rows, flags = corpus.documents.rows, []
        assert rows is not None
        for role, members in (("raw", np.flatnonzero(~self.target)), ("target", np.flatnonzero(self.target))):
            (folder / f"{role}.jsonl").write_bytes(b"".join(corpus.lines[i] for i in members.tolist()))
            np.save(folder / f"{role}.npy", rows[members])
            flags += [f"--{role}={folder}/{role}.jsonl", f"--{role}_embeddings={folder}/{role}.npy"]
        return flags


# Seconds of the clock and of processors.
Seconds = tuple[float, float]


@dataclass(frozen=True)
class Measured:
    """What one estimator found in one draw; a line of the file of results.

    Attributes:
        chosen: the settings that were left to be chosen, as they were; None where commands chose.
        seconds: what the commands took, by their names; None where they were not run.
    """

    estimator: str
    target_size: int
    label: str
    seed: int
    precision: float
    chosen: Chosen | None = None
    seconds: dict[str, Seconds] | None = None

    @property
    def of(self) -> Task:
        """What was measured."""
        return self.estimator, self.target_size, self.label, self.seed, self.seconds is not None


def run_quietly(run: Callable[[list[str]], int], flags: list[str]) -> Seconds:
    """Runs a command silently; returns what it took, raises `SystemExit` with what it printed if it fails."""
    printed = io.StringIO()
    begin, used = time.perf_counter(), processor_seconds()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        status = run(flags)
    if status:
        sys.exit(printed.getvalue())
    return time.perf_counter() - begin, processor_seconds() - used


def processor_seconds() -> float:
    """Of this process and of those that it started and that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def read_corpus(path: Path, label_field: str, embeddings: Path | None, ngrams: NgramSettings) -> Corpus:
    """The documents of a jsonl file, and their embeddings: given ones in a .npy file, or computed."""
    lines = path.read_bytes().splitlines(keepends=True)
    read = [json.loads(line) for line in lines]
    bounds, buckets, counts = NgramFeaturizer(ngrams).list_counts([one["text"].encode() for one in read])
    offsets = np.arange(len(lines))
    documents = Documents(
        sparse.csr_matrix((counts, buckets.astype(np.int32), bounds), (len(lines), ngrams.num_buckets)),
        folds_of(_SEED, path.name, offsets),
        document_hashes(_SEED, path.name, offsets),
        np.ones(len(lines), np.bool_),
        np.load(embeddings) if embeddings else compute_embeddings(path, lines),
    )
    return Corpus(lines, np.array([str(one[label_field]) for one in read]), documents)


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


class Estimating:
    """Weighs the raw documents of a draw; each estimator is fitted once, whichever row needs it.

    Args:
        documents: of the corpus.
        drawn: which of them are the target's.
    """

    def __init__(self, documents: Documents, drawn: Draw) -> None:
        self._target, self._raw = documents[drawn.target], documents[~drawn.target]
        self._wanted = drawn.wanted[~drawn.target]
        self._weighed: dict[tuple[str | EmbeddingMethod, FitSettings], Judged] = {}

    def measure(self, flags: Sequence[str]) -> tuple[float, Chosen]:
        """The precision with some flags, and the settings that these leave to be chosen, as they are chosen."""
        config = config_of(parse_options([*_NEEDED, *flags], "select"), "select")
        choices, trials = choices_of(config), trial_settings(config)
        candidates, num_wanted = choices.candidates(), int(self._wanted.sum())
        if len(candidates) > 1:
            folds = [judge_fold(self._target, self._raw, fold, choices, trials.fit) for fold in range(NUM_FOLDS)]
            hidden = [fold.standardized() if trials.standardize else fold for fold in folds if fold]
            candidates = [best(try_candidates(candidates, hidden, num_wanted / len(self._wanted))).candidate]
        candidate = candidates[0]
        ngram, embedding = candidate.ngram, candidate.embedding
        weighed = Fold(
            {ngram: self._weigh(ngram, trials.fit)} if ngram else {},
            {embedding: self._weigh(embedding, trials.fit)} if embedding else {},
        )
        weights = (weighed.standardized() if trials.standardize else weighed).weights(candidate).raw
        selected = np.argsort(-weights, kind="stable")[:num_wanted]
        chosen = {name: value for name, value in candidate.settings().items() if name in config.auto}
        return float(self._wanted[selected].mean()), chosen

    def _weigh(self, method: str | EmbeddingMethod, settings: FitSettings) -> Judged:
        key = (method, settings)
        if key not in self._weighed:
            cross_fitted = "classifier" in (method, getattr(method, "estimator", None))
            self._weighed[key] = (self._cross_fit if cross_fitted else self._fit)(method, settings)
        return self._weighed[key]

    def _fit(self, method: str | EmbeddingMethod, settings: FitSettings) -> Judged:
        return judge(Sides(self._target, self._raw, self._target, self._raw), method, settings)

    def _cross_fit(self, method: str | EmbeddingMethod, settings: FitSettings) -> Judged:
        judged = Judged(np.zeros(len(self._target.folds)), np.zeros(len(self._raw.folds)))
        for of_fold in (self._raw.folds == fold for fold in range(NUM_FOLDS)):
            if of_fold.any():
                sides = Sides(self._target, self._raw[~of_fold], self._target, self._raw[of_fold])
                judged.raw[of_fold] = judge(sides, method, settings).raw
        return judged


def run_commands(
    inputs: list[str], flags: list[str], drawn: Draw, label_field: str, label: str
) -> tuple[float, dict[str, Seconds]]:
    """Runs `hir select`, and `hir fit` apart from it, on the files of a draw: the precision, and what they took."""
    if "--alpha=1" in flags:  # which takes no embeddings
        inputs = [flag for flag in inputs if "_embeddings=" not in flag]
    of_fit = [flag for flag in flags if flag != "--weight_per_token"]  # which changes nothing that is fitted
    output = [f"--num_to_sample={drawn.num_wanted}", "--top_k", "--min_example_length=0"]
    with tempfile.TemporaryDirectory() as folder:
        fitting = run_quietly(fit.run, [*inputs, f"--work_dir={folder}/fit", *of_fit])
        selecting = run_quietly(select.run, [*inputs, f"--output={folder}/out", *output, *flags])
        parts = Path(folder, "out").glob("part-*.jsonl")
        found = [json.loads(line)[label_field] for part in parts for line in part.read_bytes().splitlines()]
    return sum(str(one) == label for one in found) / drawn.num_wanted, {"select": selecting, "fit": fitting}


def frequent(labels: Sequence[str], least: int) -> list[str]:
    """The labels of at least so many documents, the commonest first."""
    return [label for label, count in collections.Counter(labels).most_common() if count >= least]


def measurements(corpus: Corpus, tasks: Sequence[Task], label_field: str, more: list[str]) -> Iterator[Measured]:
    """Measures one after the other; those of one draw follow each other."""
    for (size, label, seed, by_command), of_draw in itertools.groupby(tasks, key=lambda one: one[1:]):
        drawn = Draw.of(corpus.labels, label, size, seed)
        estimating = Estimating(corpus.documents, drawn)
        with tempfile.TemporaryDirectory() as folder:
            inputs = drawn.write(corpus, Path(folder)) if by_command else []
            for estimator, *_ in of_draw:
                flags = [*ESTIMATORS[estimator].split(), *more]
                if by_command:
                    precision, seconds = run_commands(inputs, flags, drawn, label_field, label)
                    yield Measured(estimator, size, label, seed, precision, seconds=seconds)
                else:
                    yield Measured(estimator, size, label, seed, *estimating.measure(flags))


def tables(found: Sequence[Measured], labels: Sequence[str]) -> Iterator[Table]:
    """A table for each size of the target, of means over draws and over labels; and one of the commands."""
    by_command = [one for one in found if one.seconds]
    measured = [one for one in found if not one.seconds]
    for size in sorted({one.target_size for one in measured}, reverse=True):
        of_size = [one for one in measured if one.target_size == size]
        draws = len({one.seed for one in of_size})
        table = Table("estimator", *labels, "mean", title=f"{size} target documents at most, draws: {draws}")
        for estimator in dict.fromkeys(one.estimator for one in of_size):
            rows = [one for one in of_size if one.estimator == estimator]
            means = [np.mean([one.precision for one in rows if one.label == label]) for label in labels]
            table.add_row(estimator, *(f"{mean:.3f}" for mean in (*means, np.mean(means))))
        yield table
    columns = ("select, s", "processors, s", "fit, s", "processors, s")
    table = Table("estimator", "precision", *columns, title=f"commands, {labels[0]}")
    for one in by_command:
        seconds = itertools.chain(*(one.seconds or {}).values())
        table.add_row(one.estimator, f"{one.precision:.3f}", *(f"{took:.1f}" for took in seconds))
    yield table


def main(argv: Sequence[str] | None = None) -> None:
    """Measures what is not measured yet and prints a table for each size of the target."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0], allow_abbrev=False)
    parser.add_argument(
        "--documents", required=True, type=Path, help="jsonl of labelled documents, their text in 'text'"
    )
    parser.add_argument("--label_field", required=True, help="JSON field of the labels")
    parser.add_argument("--embeddings", type=Path, help=".npy with a row for each document; computed by default")
    parser.add_argument("--results", type=Path, help="a file that keeps what is measured: it is not measured again")
    parser.add_argument("--target_sizes", default="400,100,20")
    parser.add_argument("--least_documents", type=int, default=150, help="of a label that is to be a target")
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--estimators", default=";".join(ESTIMATORS), help="names of rows, with ; between them")
    arguments, more = parser.parse_known_args(argv)
    use_one_thread()
    corpus = read_corpus(arguments.documents, arguments.label_field, arguments.embeddings, NgramSettings())
    labels = frequent(corpus.labels.tolist(), arguments.least_documents)
    sizes = [int(size) for size in arguments.target_sizes.split(",")]
    estimators = arguments.estimators.split(";")
    draws = [*itertools.product(range(arguments.draws), sizes, labels)]
    tasks: list[Task] = [(name, size, label, seed, False) for seed, size, label in draws for name in estimators]
    tasks += [(name, sizes[0], labels[0], 0, True) for name in estimators]
    found = []
    if arguments.results and arguments.results.exists():
        found = [Measured(**json.loads(line)) for line in arguments.results.read_text().splitlines()]
    measured = {one.of for one in found}
    missing = [task for task in tasks if task not in measured]
    with open(arguments.results, "a") if arguments.results else contextlib.nullcontext() as kept:
        for one in measurements(corpus, missing, arguments.label_field, more):
            found.append(one)
            print(json.dumps(vars(one)), file=kept or sys.stderr, flush=True)
    for table in tables([one for one in found if one.of in {*tasks}], labels):
        Console(width=200).print(table)


if __name__ == "__main__":
    main()
