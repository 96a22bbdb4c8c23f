"""All settings of a selection, checked once, before anything runs."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from hir_transforms.common.errors import UserError
from hir_transforms.documents.datasets import Dataset
from hir_transforms.documents.ids import IdParser
from hir_transforms.files.compression import COMPRESSIONS
from hir_transforms.ngrams.features import NgramSettings
from hir_transforms.weights.standardizing import SCALINGS

_AUTO_NGRAMS_PER_BUCKET = 100_000
_AUTO_SAMPLE_ROWS = 50_000
_AUTO_SAMPLE_ROWS_PER_COMPONENT = 500
_INT32_MAX, _UINT32_MAX, _INT64_MAX = 2**31 - 1, 2**32 - 1, 2**63 - 1
_MAX_SHARDS = 99_999  # five digits of a file's name


@dataclass(frozen=True)
class SelectionConfig:
    """Which documents to take, given their weights, and where to; field names are the flags' names.

    `output` and the budgets are None for a command that selects nothing.

    Raises:
        UserError: naming the flag and the bad value.
    """

    output: str | None
    work_dir: str
    num_to_sample: int | None
    num_tokens_to_sample: int | None
    top_k: bool
    seed: int
    target_proportions: tuple[float, ...] | None
    skip_duplicates: bool
    min_example_length: int
    num_shards: int
    compression: str
    overwrite: bool

    def __post_init__(self) -> None:
        if self.output is not None and f"{self.work_dir}/".startswith(f"{self.output}/"):
            raise UserError(
                f"--work_dir: {self.work_dir} must not be in --output {self.output}, which is replaced whole"
            )
        for name in ("num_to_sample", "num_tokens_to_sample"):
            if (budget := getattr(self, name)) is not None:
                _check_range(name, budget, 1)
        if self.num_to_sample is not None and self.num_tokens_to_sample is not None:
            raise UserError("--num_to_sample and --num_tokens_to_sample: give one of them, not both")
        if self.output is not None and self.num_to_sample is None and self.num_tokens_to_sample is None:
            raise UserError(
                "--num_to_sample is required: how many documents to select (or --num_tokens_to_sample: tokens)"
            )
        _check_range("seed", self.seed, -_INT64_MAX)
        _check_range("num_shards", self.num_shards, 0, _MAX_SHARDS, "0 chooses by size")
        _check("compression", self.compression, self.compression in COMPRESSIONS, f"one of {', '.join(COMPRESSIONS)}")
        _check_range("min_example_length", self.min_example_length, 0, _INT32_MAX)
        if (shares := self.target_proportions) is not None:
            good = all(share >= 0 for share in shares) and 0 < sum(shares) < math.inf
            _check("target_proportions", list(shares), good, "numbers of at least 0, not all 0")

    def check_num_targets(self, num_targets: int, hint: str = "") -> None:
        """Raises `UserError` unless there is a share for each target."""
        if self.target_proportions is not None and len(self.target_proportions) != num_targets:
            raise UserError(
                f"--target_proportions: {len(self.target_proportions)} shares for {num_targets} "
                f"target{'s' if num_targets > 1 else ''}{hint}"
            )


@dataclass(frozen=True)
class SelectConfig(SelectionConfig):
    """What `select` and its parts do; field names are the flags' names.

    `target` is None where nothing needs it.

    Raises:
        UserError: naming the flag and the bad value.
    """

    raw: Dataset
    target: Dataset | None
    alpha: float
    fit_seed: int
    separate_targets: bool
    id_field: str | None
    ngram_settings: NgramSettings
    num_tokens_to_fit: str
    target_laplace_smoothing: float
    weight_scaling: str
    ngram_weights: Dataset | None
    gmm_weights: Dataset | None
    embedding_model: str
    embedding_revision: str | None
    embedding_prompt: str
    trust_remote_code: bool
    embedding_dim: int
    raw_embeddings: Dataset | None
    target_embeddings: Dataset | None
    raw_components: int
    target_components: int
    gmm_max_iter: int
    gmm_tol: float
    raw_max_samples: str
    target_max_samples: str
    raw_gmm: str | None
    target_gmm: tuple[str, ...]
    gmm_checkpoint_dir: str | None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.id_field:
            IdParser(self.id_field)
        _check("alpha", self.alpha, 0.0 <= self.alpha <= 1.0, "between 0 and 1")
        _check("weight_scaling", self.weight_scaling, self.weight_scaling in SCALINGS, f"one of {', '.join(SCALINGS)}")
        fit = self.num_tokens_to_fit
        _check("num_tokens_to_fit", fit, fit in ("all", "auto") or _is_positive(fit), "all, auto or a positive number")
        smoothing = self.target_laplace_smoothing
        _check("target_laplace_smoothing", smoothing, 0.0 <= smoothing < float("inf"), "a number of at least 0")
        for name in ("raw_components", "target_components", "gmm_max_iter"):
            _check_range(name, getattr(self, name), 1, _INT32_MAX)
        _check_range("embedding_dim", self.embedding_dim, 0, _INT32_MAX, "0 keeps all")
        _check_range("fit_seed", self.fit_seed, 0, _UINT32_MAX)  # what k-means takes
        _check("gmm_tol", self.gmm_tol, 0.0 <= self.gmm_tol < float("inf"), "a number of at least 0")
        for name in ("raw_max_samples", "target_max_samples"):
            rows = getattr(self, name)
            _check(name, rows, rows in ("all", "auto") or _is_positive(rows), "all, auto or a positive number")
        self._check_targets()

    def _check_targets(self) -> None:
        if self.target is None and (self.fits_ngrams or self.fits_target_mixtures):
            raise UserError("--target is required")
        if self.separate_targets and self.target is None:
            raise UserError("--separate_targets: needs --target, a pattern for each target")
        if self.target_gmm and len(self.target_gmm) != self.num_targets:
            raise UserError(f"--target_gmm: {len(self.target_gmm)} files for {self.num_targets} targets")
        hint = "" if self.separate_targets else " (--separate_targets makes each pattern of --target one)"
        self.check_num_targets(self.num_targets, hint)
        counted = self.fits_ngrams or (self.alpha == 0 and self.fits_target_mixtures)
        if self.target_proportions is None and self.num_targets > 1 and not counted:
            raise UserError("--target_proportions is required: no target is counted to take its share from")

    @property
    def num_targets(self) -> int:
        """How many targets have weights of their own."""
        return len(self.target.patterns) if self.separate_targets and self.target else 1

    @property
    def uses_ngrams(self) -> bool:
        """Whether n-gram weights count."""
        return self.alpha > 0

    @property
    def uses_embeddings(self) -> bool:
        """Whether embedding weights count."""
        return self.alpha < 1

    @property
    def fits_ngrams(self) -> bool:
        """Whether n-gram weights are computed."""
        return self.uses_ngrams and self.ngram_weights is None

    @property
    def scores_embeddings(self) -> bool:
        """Whether embedding weights are computed."""
        return self.uses_embeddings and self.gmm_weights is None

    @property
    def fits_target_mixtures(self) -> bool:
        """Whether the target is embedded and its mixtures are fitted."""
        return self.scores_embeddings and not self.target_gmm

    @property
    def num_ngrams_to_fit(self) -> int | None:
        """Most n-grams of raw to fit on; None for all. DSIR's "auto" is 100,000 a bucket."""
        if self.num_tokens_to_fit == "all":
            return None
        if self.num_tokens_to_fit == "auto":
            return _AUTO_NGRAMS_PER_BUCKET * self.ngram_settings.num_buckets
        return int(self.num_tokens_to_fit)

    def max_samples(self, role: str) -> int | None:
        """Most documents to fit the mixture of "raw" or "target" to; None for all."""
        flag, components = (
            (self.raw_max_samples, self.raw_components)
            if role == "raw"
            else (self.target_max_samples, self.target_components)
        )
        if flag == "all":
            return None
        if flag == "auto":
            return max(_AUTO_SAMPLE_ROWS, _AUTO_SAMPLE_ROWS_PER_COMPONENT * components)
        return int(flag)

    def settings(self) -> dict[str, Any]:
        """For the output's manifest: every setting that the result depends on, JSON values only."""
        settings = {name: value for name, value in vars(self).items() if name not in _NOT_OF_THE_RESULT}
        for name, value in settings.items():
            if isinstance(value, Dataset):
                settings[name] = list(value.patterns)
            elif isinstance(value, tuple):
                settings[name] = list(value)
        settings |= {"text_field": self.raw.text_field, "max_document_bytes": self.raw.max_document_bytes}
        return settings | asdict(settings.pop("ngram_settings"))


_NOT_OF_THE_RESULT = ("output", "work_dir", "gmm_checkpoint_dir", "overwrite")


def _check(name: str, value: Any, good: bool, expected: str) -> None:
    if not good:
        raise UserError(f"--{name}: must be {expected}, not {value}")


def _check_range(name: str, value: int, lowest: int, highest: int = _INT64_MAX, hint: str = "") -> None:
    hint = f" ({hint})" if hint else ""
    _check(name, value, value >= lowest, f"at least {lowest}{hint}")
    _check(name, value, value <= highest, f"at most {highest}{hint}")


def _is_positive(number: str) -> bool:
    """Whether it is a number from 1 to the largest of 64 bits; Python itself reads no number of any length."""
    return number.isascii() and number.isdigit() and len(number) < 20 and 0 < int(number) <= _INT64_MAX
