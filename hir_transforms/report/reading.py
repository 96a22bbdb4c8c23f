"""What a report keeps of the documents that it reads: counts of n-grams, beginnings, labels, and what decides."""

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from hir_transforms.artifacts.stages import Stage
from hir_transforms.documents.datasets import Dataset
from hir_transforms.documents.identity import identity_hash
from hir_transforms.documents.reading import DocumentReader
from hir_transforms.documents.records import ReadTask
from hir_transforms.evaluation.labels import shorten
from hir_transforms.evaluation.two_samples import DrawnDocument
from hir_transforms.ngrams.classifier_fitting import ClassifierSettings, load_classifier
from hir_transforms.ngrams.features import NgramFeaturizer, NgramSettings, shared_featurizer
from hir_transforms.ngrams.fitting import load_estimator
from hir_transforms.ngrams.word_tokenizer import load_word_tokenizer
from hir_transforms.report.deciding import Share, both_ends, ngram_shares, strongest
from hir_transforms.report.texts import FoundText, TextTask, read_texts
from hir_transforms.report.words import words_of

EXCERPT_CHARACTERS = 300
_DECIDING = 8
_NAMED = 40
# Documents whose n-grams are counted at once: one by one takes three times as long.
_COUNTED_TOGETHER = 64


@dataclass(frozen=True)
class ReadText:
    """A document of raw.

    Attributes:
        place: (index of the file in the corpus, offset).
        excerpt: of the text, where it is shown.
        deciding: the n-grams that add or take most, where it is shown.
        counted: its n-grams, where they are counted.
        named: n-grams that add or take much, where they are named.
        words: where its embedding is taken.
        label: where it has one.
    """

    place: tuple[int, int]
    excerpt: str | None = None
    deciding: tuple[Share, ...] = ()
    counted: DrawnDocument | None = None
    named: tuple[Share, ...] = ()
    words: tuple[str, ...] = ()
    label: str | None = None


@dataclass(frozen=True)
class TargetText:
    """A document of the target: which of several targets it is of, its n-grams, its label, and its words."""

    target: int
    counted: DrawnDocument
    label: str | None
    words: tuple[str, ...]


@dataclass(frozen=True)
class ReadingSettings:
    """What documents are read for.

    Attributes:
        raw: the dataset of those that may be selected.
        target: that of the wanted ones; None where it is not known, and then no n-gram is counted.
        num_targets: how many targets the patterns of that are.
        ngrams: how n-grams are made.
        estimator: the stage of what weighs n-grams; None where they are not weighed.
        label_field: of the labels; None for none.
        embeddings: the stages of those of raw and of the target; None where not both are embedded.
    """

    raw: Dataset
    target: Dataset | None
    num_targets: int
    ngrams: NgramSettings
    estimator: Stage | None
    label_field: str | None
    embeddings: tuple[Stage, Stage] | None = None

    @property
    def needs_samples(self) -> bool:
        """Whether more is read than what is shown."""
        return self.target is not None or self.label_field is not None


class DocumentLooker:
    """Looks at documents; what it takes for that is loaded when it is first needed."""

    def __init__(self, settings: ReadingSettings) -> None:
        self._settings = settings
        self._weights: npt.NDArray[np.float64] | None = None

    def read(self, task: TextTask) -> Iterator[ReadText]:
        """The documents of a file of raw."""
        found = read_texts(task, self._settings.raw, self._settings.label_field)
        while some := list(itertools.islice(found, _COUNTED_TOGETHER)):
            drawn = [
                (one.text, one.wanted.hash) for one in some if one.text is not None and one.wanted.hash is not None
            ]
            counted = {one.hash: one for one in (self._count(drawn) if self._settings.target else ())}
            for one in some:
                yield self._look(
                    task.file.index, one, None if one.wanted.hash is None else counted.get(one.wanted.hash)
                )

    def _look(self, file: int, found: FoundText, counted: DrawnDocument | None) -> ReadText:
        wanted, text = found.wanted, found.text
        label = None if found.label is None else shorten(found.label)
        read = ReadText((file, wanted.offset), label=label, counted=counted)
        if text is None:
            return read if wanted.shown_for is None else replace(read, excerpt=f"({found.problem})")
        if wanted.shown_for is not None:
            deciding = strongest(self._shares(text, wanted.shown_for), _DECIDING)
            read = replace(read, excerpt=_beginning(text), deciding=tuple(deciding))
        if wanted.is_named:
            raising, lowering = both_ends(self._shares(text, 0), _NAMED)
            read = replace(read, named=(*raising, *lowering))
        return replace(read, words=self._words(text)) if wanted.is_clustered else read

    def read_target(self, task: ReadTask) -> Iterator[TargetText]:
        """The documents of a piece of the target."""
        target, label_field = self._settings.target, self._settings.label_field
        assert target
        for group in DocumentReader(target, label_field).read(task):
            number = group.target if self._settings.num_targets > 1 else 0
            for batch in group.batches:
                hashes = identity_hash(0, batch.file.name, batch.offsets, purpose="report").tolist()
                counted = self._count(list(zip(batch.texts, hashes, strict=True)))
                labels = batch.ids or [None] * len(counted)
                for one, label, text in zip(counted, labels, batch.texts, strict=True):
                    yield TargetText(number, one, None if label is None else shorten(label), self._words(text))

    @property
    def _featurizer(self) -> NgramFeaturizer:
        return shared_featurizer(self._settings.ngrams)

    def _count(self, drawn: Sequence[tuple[str, int]]) -> list[DrawnDocument]:
        """The n-grams of texts that have been drawn by their hashes."""
        bounds, buckets, counts = self._featurizer.list_counts([text.encode() for text, _ in drawn])
        found = []
        for (_, hashed), (begin, end) in zip(drawn, itertools.pairwise(bounds.tolist()), strict=True):
            order = begin + np.argsort(buckets[begin:end])
            found.append(DrawnDocument(hashed, buckets[order].astype(np.int32), counts[order].astype(np.int32)))
        return found

    def _words(self, text: str) -> tuple[str, ...]:
        """The words of a text; none where nothing is embedded."""
        if self._settings.embeddings is None:
            return ()
        return words_of(text, self._word_tokenizer) if self._splits_words else words_of(text)

    @functools.cached_property
    def _word_tokenizer(self) -> Callable[[str], list[str]]:
        return load_word_tokenizer()

    @property
    def _splits_words(self) -> bool:
        """Whether the tokens are those of word_tokenize, which are not told by a pattern."""
        return self._settings.ngrams.tokenizer == "word_tokenize"

    def _shares(self, text: str, target: int) -> list[Share]:
        estimator, ngrams = self._settings.estimator, self._settings.ngrams
        if estimator is None or self._splits_words:
            return []
        if self._weights is None:
            self._weights = _bucket_weights(estimator)
        weights = self._weights[target : target + 1]
        return ngram_shares(text, ngrams.ngrams, lambda texts: self._featurizer.score(texts, weights)[0][:, 0])


def _bucket_weights(estimator: Stage) -> npt.NDArray[np.float64]:
    """What an n-gram of each bucket adds, float64 [T, B]; of a classifier, but for the text's length."""
    if isinstance(estimator.settings, ClassifierSettings):
        return load_classifier(estimator).coefficients.mean(axis=1)
    return load_estimator(estimator).log_ratio


def _beginning(text: str) -> str:
    return text[:EXCERPT_CHARACTERS] + ("\N{HORIZONTAL ELLIPSIS}" if len(text) > EXCERPT_CHARACTERS else "")
