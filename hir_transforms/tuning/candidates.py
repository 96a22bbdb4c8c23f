"""What settings left to `auto` are chosen from: candidates, each of an n-gram or an embedding estimator, or both."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

# By odds of about 3 and finer around the middle: n-gram and embedding weights differ in scale, up to a thousandfold.
ALPHAS = (0.0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.25, 0.5, 0.75, 0.9, 0.97, 0.99, 0.997, 1.0)
# From cheap to dear.
EMBEDDING_ESTIMATORS = ("classifier", "mixture")
# Principal components of embeddings; 0 stands for the embeddings as they are.
EMBEDDING_DIMS = (16, 0)


@dataclass(frozen=True)
class EmbeddingMethod:
    """How embeddings are weighed: by which estimator, on how many principal components (0: as they are)."""

    estimator: str
    dim: int


@dataclass(frozen=True)
class Candidate:
    """One choice of settings.

    Attributes:
        alpha: share of the n-gram weight.
        ngram: name of the n-gram estimator; None for embeddings alone.
        embedding: how embeddings are weighed; None for n-grams alone.
    """

    alpha: float
    ngram: str | None
    embedding: EmbeddingMethod | None

    def settings(self) -> dict[str, float | str | int | None]:
        """Values of settings, by name; None for those that the candidate does not need."""
        return {
            "alpha": self.alpha,
            "ngram_estimator": self.ngram,
            "embedding_estimator": self.embedding.estimator if self.embedding else None,
            "embedding_dim": self.embedding.dim if self.embedding else None,
        }


@dataclass(frozen=True)
class Choices:
    """What is to be chosen from; one value each where it is given, none where it does not count.

    Attributes:
        alphas: ascending.
        ngrams: n-gram estimators, from cheap to dear.
        embedding_estimators, embedding_dims: from cheap to dear.
    """

    alphas: tuple[float, ...]
    ngrams: tuple[str, ...]
    embedding_estimators: tuple[str, ...]
    embedding_dims: tuple[int, ...]

    @property
    def embeddings(self) -> list[EmbeddingMethod]:
        """The ways of weighing embeddings that are tried, from cheap to dear."""
        return [EmbeddingMethod(*one) for one in itertools.product(self.embedding_estimators, self.embedding_dims)]

    def candidates(self) -> list[Candidate]:
        """All of them, from cheap to dear: n-grams alone, then embeddings alone, then both."""
        return [*self._candidates()]

    def _candidates(self) -> Iterator[Candidate]:
        if 1.0 in self.alphas:
            yield from (Candidate(1.0, ngram, None) for ngram in self.ngrams)
        if 0.0 in self.alphas:
            yield from (Candidate(0.0, None, embedding) for embedding in self.embeddings)
        mixed = [alpha for alpha in self.alphas if 0 < alpha < 1]
        for embedding, ngram, alpha in itertools.product(self.embeddings, self.ngrams, mixed):
            yield Candidate(alpha, ngram, embedding)
