"""The settings of the models of embeddings; `MixtureSettings` are those of one mixture."""

import functools
from dataclasses import dataclass

from hir_transforms.common.fingerprints import NO_EFFECT
from hir_transforms.common.settings import (
    ALL_OR_SOME,
    AUTO_OR_NUMBER,
    FITTING,
    INT32_MAX,
    TRYING,
    Settings,
    in_range,
    not_negative,
    setting,
)
from hir_transforms.documents.datasets import Dataset
from hir_transforms.documents.settings import FILE, FILES, FOLDER

# What `auto` stands for: rows per component, and the most components, which are those of the paper (arXiv:2501.03826).
_AUTO_COMPONENTS = {"raw": (200, 1000), "target": (100, 50)}
_AUTO_ROWS = 50_000
_AUTO_ROWS_PER_COMPONENT = 500

_mixture_setting = functools.partial(setting, task="mixtures", commands=TRYING)
_num_components = functools.partial(_mixture_setting, "auto", kind=AUTO_OR_NUMBER, metavar="auto|K")


@dataclass(frozen=True, kw_only=True)
class MixtureOptions(Settings):
    """How the mixtures are fitted, or the files that hold them, and what a classifier is fitted to."""

    embedding_dim: int = _mixture_setting(
        0,
        "principal components of the embeddings to keep; 0 keeps the embeddings as they are",
        check=in_range(0, INT32_MAX, "0 keeps all"),
        metavar="D",
        can_be_auto=True,
    )
    raw_components: str = _num_components(
        "components of the mixture of raw; auto: one for 200 documents that it is fitted to, at most 1000"
    )
    target_components: str = _num_components(
        "components of the mixture of each target; auto: one for 100 documents, at most 50"
    )
    gmm_max_iter: int = _mixture_setting(100, "most EM iterations", check=in_range(1, INT32_MAX))
    gmm_tol: float = _mixture_setting(
        1e-3, "EM stops where the mean log likelihood gains less", check=not_negative, metavar="T"
    )
    raw_max_samples: str = _mixture_setting(
        "auto",
        "documents of raw to fit its mixture or the classifier to, a uniform sample; auto: 50,000, for a mixture at "
        "least 500 for each of the most components",
        kind=ALL_OR_SOME,
    )
    target_max_samples: str = _mixture_setting(
        "auto",
        "documents of the target to fit its mixture or the classifier to, as for --raw_max_samples",
        kind=ALL_OR_SOME,
    )
    raw_gmm: str | None = _mixture_setting(
        None, "a mixture of raw instead of fitting one", kind=FILE, metavar="FILE.npz", commands=FITTING
    )
    target_gmm: tuple[str, ...] = _mixture_setting(
        (),
        "a mixture of the target instead of fitting one; one for each separate target",
        kind=FILES,
        metavar="FILE.npz[,FILE.npz]",
        commands=FITTING,
    )
    gmm_checkpoint_dir: str | None = _mixture_setting(
        None,
        "keep the mixture after each EM iteration here; an interrupted fit goes on from the last one",
        commands=("select", "fit", "score"),
        kind=FOLDER,
        metadata=NO_EFFECT,
    )

    def files(self) -> list[Dataset]:
        """The files of mixtures that are given, by their flags."""
        given = {"raw_gmm": (self.raw_gmm,) if self.raw_gmm else (), "target_gmm": self.target_gmm}
        return [Dataset(flag, paths) for flag, paths in given.items() if paths]

    def max_components(self, role: str) -> int:
        """Components of the mixture of "raw" or "target", or where they depend on the rows, the most."""
        flag = self._components(role)
        return _AUTO_COMPONENTS[role][1] if flag == "auto" else int(flag)

    def rows_per_component(self, role: str) -> int | None:
        """Rows that a component of the mixture of "raw" or "target" stands for; None where the number is given."""
        return _AUTO_COMPONENTS[role][0] if self._components(role) == "auto" else None

    def _components(self, role: str) -> str:
        return self.raw_components if role == "raw" else self.target_components

    def max_samples(self, role: str) -> int | None:
        """Most documents to fit the mixture of "raw" or "target" to; None for all."""
        return self._max_samples(role, max(_AUTO_ROWS, _AUTO_ROWS_PER_COMPONENT * self.max_components(role)))

    def classifier_max_samples(self, role: str) -> int | None:
        """Most documents of "raw" or of each target to fit the classifier to; None for all."""
        return self._max_samples(role, _AUTO_ROWS)

    def _max_samples(self, role: str, auto: int) -> int | None:
        flag = self.raw_max_samples if role == "raw" else self.target_max_samples
        if flag == "all":
            return None
        return auto if flag == "auto" else int(flag)
