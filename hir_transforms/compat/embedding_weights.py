"""What the research code of HIR (arXiv 2501.03826) adds: mixtures over sentence embeddings, mixed with the n-grams."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hir_transforms.common.errors import UserError
from hir_transforms.compat.base import DSIR, Example, examples_of
from hir_transforms.documents.keys import key_hashes
from hir_transforms.embeddings.model import EmbeddingModel, find_model
from hir_transforms.embeddings.settings import EmbeddingOptions
from hir_transforms.files import storage
from hir_transforms.mixtures.em import GaussianMixture, log_ratios
from hir_transforms.mixtures.fitting import TASK_ROWS, MixtureSettings, fit_mixture
from hir_transforms.mixtures.settings import MixtureOptions
from hir_transforms.weights.hybrid import hybrid_weight

_PLAIN, _LOG = "importance_weights", "log_importance_weights"
Given = str | os.PathLike[str] | None


class EmbeddingWeights(DSIR):
    """Log weights of embeddings by two mixtures, and those mixed with the weights of `compute_importance_weights`.

    Attributes:
        embedding_model: name or folder of the model of sentence-transformers; set it before fitting for another one.
    """

    embedding_model = EmbeddingOptions().embedding_model

    def fit_gmm_importance_estimator(
        self,
        chunk_size: int = 1_000,
        raw_max_samples: int | None = None,
        target_max_samples: int | None = None,
        raw_text_emb_path: Given = None,
        target_text_emb_path: Given = None,
        checkpoint_dir: Given = None,
        gmm_raw_checkpoint_path: Given = None,
        gmm_target_checkpoint_path: Given | Sequence[Given] = None,
    ) -> None:
        """Embeds raw and target, fits a mixture to each, and keeps the log weights of raw's embeddings.

        With separate targets each of them has a mixture, and weights are float64 [N, T].

        Args:
            chunk_size: texts to embed at a time.
            raw_max_samples: most rows of raw to fit to; by default as in `hir select`.
            target_max_samples: the same of the target.
            raw_text_emb_path: embeddings of raw that are there, [N, D], in the order of the virtual shards; else they
                are computed, and kept as `raw text embeddings.npy` in `cache_dir`. The suffix may be left out.
            target_text_emb_path: the same of the target.
            checkpoint_dir: where the mixtures are kept, as `gmm_raw.npz` and `gmm_target.npz` (of separate targets
                `gmm_target-0.npz`, `gmm_target-1.npz`, ...); `cache_dir` by default.
            gmm_raw_checkpoint_path: a mixture of raw that is there, instead of fitting one.
            gmm_target_checkpoint_path: the same of the target; of separate targets, a list with one of each.

        Raises:
            UserError: for a missing file, a model that is not there, or rows or mixtures that are not those of the
                targets.
        """
        folder = Path(checkpoint_dir or self.cache_dir)
        folder.mkdir(parents=True, exist_ok=True)
        raw = self._embeddings("raw", raw_text_emb_path, chunk_size)
        target = self._embeddings("target", target_text_emb_path, chunk_size)
        of_raw = _mixture("raw", raw, raw_max_samples, gmm_raw_checkpoint_path, folder / "gmm_raw.npz")
        if not self.separate_targets:
            path = folder / "gmm_target.npz"
            of_target = _mixture("target", target, target_max_samples, gmm_target_checkpoint_path, path)
            _save(self._gmm_weights_path, log_ratios(raw, of_raw, [of_target])[:, 0])
            return
        parts = self._of_targets(target)
        given = [None] * len(parts) if gmm_target_checkpoint_path is None else gmm_target_checkpoint_path
        if isinstance(given, str | os.PathLike) or len(given) != len(parts):
            raise UserError(f"gmm_target_checkpoint_path: must be a list of {len(parts)} mixtures, one of each target")
        of_targets = [
            _mixture("target", part, target_max_samples, checkpoint, folder / f"gmm_target-{number}.npz")
            for number, (part, checkpoint) in enumerate(zip(parts, given, strict=True))
        ]
        _save(self._gmm_weights_path, log_ratios(raw, of_raw, of_targets))

    def _of_targets(self, rows: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
        """The rows of each target, one after the other as their virtual shards are."""
        sizes = [sum(1 for _ in self.target_load_dataset_fn(path)) for path in self.target_datasets]
        if sum(sizes) != len(rows):
            raise UserError(f"target_text_emb_path: {len(rows)} embeddings for {sum(sizes)} examples")
        return np.split(rows, np.cumsum(sizes)[:-1])

    def compute_hybrid_importance_weight(
        self,
        alpha: float,
        save_path: str | os.PathLike[str],
        ng_importance_weights_path: Given = None,
        gmm_importance_weights_path: Given = None,
    ) -> None:
        """Writes `alpha * n-gram + (1 - alpha) * mixture`, log weights of all examples, float64 [N] or [N, T].

        The file is there under two names: `save_path`, and the same with `log_importance_weights` in the place of
        `importance_weights`, or the other way round.

        Args:
            alpha: between 0 and 1.
            save_path: of the file, `.npy`.
            ng_importance_weights_path: log weights of n-grams that are there; else they are computed.
            gmm_importance_weights_path: log weights of the mixtures that are there.

        Raises:
            UserError: if nothing was fitted, or numbers of weights differ.
        """
        shards = self._get_virtually_sharded_datasets(self.raw_datasets)
        if not all((self.log_importance_weights_dir / f"{shard['overall_idx']}.npy").exists() for shard in shards):
            self.compute_importance_weights()  # their lengths too, by which short examples are left out
        given = ng_importance_weights_path
        ngram = _load(given) if given else np.concatenate(self._load(self.log_importance_weights_dir, shards))
        path = gmm_importance_weights_path or self._gmm_weights_path
        if alpha < 1 and not _named(path).exists():
            raise UserError(f"no {path}: call fit_gmm_importance_estimator() first")
        mixture = _load(path) if alpha < 1 else None
        if mixture is not None and mixture.shape != ngram.shape:
            raise UserError(f"{path}: {len(mixture)} weights of mixtures for {len(ngram)} of n-grams")
        mixed = hybrid_weight(ngram, mixture, alpha)
        for name in _both_names(Path(save_path)):
            _save(name, mixed)

    @property
    def _gmm_weights_path(self) -> Path:
        return self.cache_dir / "gmm_log_importance_weights.npy"

    def _embeddings(self, role: str, given: Given, chunk_size: int) -> npt.NDArray[np.float32]:
        """Embeddings of raw or target, float32 [N, D]: those that are given, else computed and kept."""
        if given is not None:
            return np.ascontiguousarray(_load(given), np.float32)
        texts = self._texts(role)
        rows = np.concatenate([*_embedded(texts, find_model(self.embedding_model), chunk_size)])
        _save(self.cache_dir / f"{role} text embeddings.npy", rows)
        return rows

    def _texts(self, role: str) -> Iterator[str]:
        """All texts of raw or target, in the order of the virtual shards."""
        datasets: Sequence[str] = getattr(self, f"{role}_datasets")
        load: Callable[[str], Iterable[Example]] = getattr(self, f"{role}_load_dataset_fn")
        parse: Callable[[Example], str] | None = getattr(self, f"{role}_parse_example_fn")
        for shard in self._get_virtually_sharded_datasets(datasets):
            yield from map(parse, examples_of(shard, load)) if parse else examples_of(shard, load)


@dataclass(frozen=True)
class _Texts:
    """What the model embeds at once."""

    texts: list[str]


def _embedded(texts: Iterator[str], model: EmbeddingModel, size: int) -> Iterator[npt.NDArray[np.float32]]:
    """Embeddings of texts, so many at a time."""
    from hir_transforms.embeddings.model_handler import SentenceTransformerHandler

    handler = SentenceTransformerHandler(model)
    loaded = handler.load_model()
    while chunk := list(islice(texts, size)):
        for result in handler.run_inference([_Texts(chunk)], loaded):
            yield np.asarray(result.inference, np.float32)


def _mixture(
    role: str, rows: npt.NDArray[np.float32], max_samples: int | None, given: Any, path: Path
) -> GaussianMixture:
    """The mixture that is given, or that is fitted to a sample of the rows by their places, and kept."""
    if given is not None:
        with storage.open_raw(os.path.abspath(given)) as file:
            return GaussianMixture.load(file)
    options = MixtureOptions()
    settings = MixtureSettings(
        options.max_components(role),
        options.gmm_max_iter,
        options.gmm_tol,
        max_samples=max_samples or options.max_samples(role),
        rows_per_component=options.rows_per_component(role),
    )
    hashes = key_hashes(settings.seed, range(len(rows)), purpose="rows")
    sample = np.sort(np.argsort(hashes, kind="stable")[: settings.max_samples])
    mixture, _ = fit_mixture(partial(_batches, rows[sample], hashes[sample]), settings)
    with storage.atomic_write(os.path.abspath(path)) as file:
        mixture.save(file)
    return mixture


def _batches(rows: npt.NDArray[Any], hashes: npt.NDArray[Any]) -> Iterator[tuple[npt.NDArray[Any], npt.NDArray[Any]]]:
    for first in range(0, len(rows), TASK_ROWS):
        yield rows[first : first + TASK_ROWS], hashes[first : first + TASK_ROWS]


def _both_names(path: Path) -> list[Path]:
    """The path that is asked for, and the other of the two that code of HIR reads."""
    name = path.name
    other = name.replace(_LOG, _PLAIN) if _LOG in name else name.replace(_PLAIN, _LOG)
    return [path] if other == name else [path, path.with_name(other)]


def _named(path: str | os.PathLike[str]) -> Path:
    """The path, or with `.npy` where that is there."""
    found = Path(path)
    with_suffix = found.with_name(f"{found.name}.npy")
    return with_suffix if with_suffix.exists() and not found.exists() else found


def _save(path: Path, array: npt.NDArray[Any]) -> None:
    with storage.atomic_write(os.path.abspath(path)) as file:
        np.save(file, array)


def _load(path: str | os.PathLike[str]) -> npt.NDArray[Any]:
    with storage.open_raw(os.path.abspath(_named(path))) as file:
        return np.load(file, allow_pickle=False)
