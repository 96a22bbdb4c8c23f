"""Data selection by importance weights of n-grams and embeddings, on Apache Beam.

`Selector` selects from Python as the commands do; see docs/python.md. The other names below are transforms of
in-memory collections, for anyone's pipeline, and what they take and give; see docs/transforms.md. Each is imported
when it is first asked for: importing the package alone imports nothing else.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hir_transforms.common.errors import UserError as UserError
    from hir_transforms.embeddings.model import EmbeddingModel as EmbeddingModel
    from hir_transforms.embeddings.model import find_model as find_model
    from hir_transforms.embeddings.transforms import ComputeEmbeddings as ComputeEmbeddings
    from hir_transforms.mixtures.em import GaussianMixture as GaussianMixture
    from hir_transforms.mixtures.fitting import MixtureSettings as MixtureSettings
    from hir_transforms.mixtures.transforms import FitGaussianMixture as FitGaussianMixture
    from hir_transforms.ngrams.classifier import NgramClassifier as NgramClassifier
    from hir_transforms.ngrams.classifier_transforms import FitNgramClassifier as FitNgramClassifier
    from hir_transforms.ngrams.estimator import NgramEstimator as NgramEstimator
    from hir_transforms.ngrams.features import NgramSettings as NgramSettings
    from hir_transforms.ngrams.transforms import CountNgrams as CountNgrams
    from hir_transforms.ngrams.transforms import FitNgramEstimator as FitNgramEstimator
    from hir_transforms.ngrams.transforms import NgramCounts as NgramCounts
    from hir_transforms.pipelines.selector import Selector as Selector  # type: ignore[import-not-found]
    from hir_transforms.results.evaluation import Evaluation as Evaluation
    from hir_transforms.results.scores import Scores as Scores
    from hir_transforms.results.selection import Selection as Selection
    from hir_transforms.selection.sample import SampleDocuments as SampleDocuments
    from hir_transforms.selection.select_like import SelectLike as SelectLike
    from hir_transforms.weights.transforms import MixLogWeights as MixLogWeights
    from hir_transforms.weights.transforms import MixtureLogWeights as MixtureLogWeights
    from hir_transforms.weights.transforms import NgramClassifierLogWeights as NgramClassifierLogWeights
    from hir_transforms.weights.transforms import NgramLogWeights as NgramLogWeights

__version__ = "0.1.0"
# In the order of the API reference.
_MODULES = {
    "pipelines.selector": ("Selector",),
    "results.selection": ("Selection",),
    "results.scores": ("Scores",),
    "results.evaluation": ("Evaluation",),
    "common.errors": ("UserError",),
    "selection.select_like": ("SelectLike",),
    "embeddings.model": ("EmbeddingModel", "find_model"),
    "embeddings.transforms": ("ComputeEmbeddings",),
    "mixtures.em": ("GaussianMixture",),
    "mixtures.fitting": ("MixtureSettings",),
    "mixtures.transforms": ("FitGaussianMixture",),
    "ngrams.classifier": ("NgramClassifier",),
    "ngrams.classifier_transforms": ("FitNgramClassifier",),
    "ngrams.estimator": ("NgramEstimator",),
    "ngrams.features": ("NgramSettings",),
    "ngrams.transforms": ("CountNgrams", "FitNgramEstimator", "NgramCounts"),
    "selection.sample": ("SampleDocuments",),
    "weights.transforms": ("MixLogWeights", "MixtureLogWeights", "NgramClassifierLogWeights", "NgramLogWeights"),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}
__all__ = ["__version__", *_MODULE_OF]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
