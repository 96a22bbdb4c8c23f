"""All settings of a selection, checked once, before anything runs."""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from typing import Any

from hir_transforms.artifacts.settings import WorkOptions
from hir_transforms.common.errors import UserError
from hir_transforms.common.fingerprints import NO_EFFECT
from hir_transforms.common.settings import Setting, declared
from hir_transforms.common.user_functions import UserFunction
from hir_transforms.documents.datasets import Dataset, LineSettings
from hir_transforms.documents.settings import InputOptions
from hir_transforms.embeddings.settings import EmbeddingOptions
from hir_transforms.evaluation.settings import EvaluationOptions
from hir_transforms.mixtures.settings import MixtureOptions
from hir_transforms.ngrams.features import NgramSettings
from hir_transforms.ngrams.settings import NgramFitOptions
from hir_transforms.runners.settings import RunOptions
from hir_transforms.selection.settings import OutputOptions, SelectionOptions
from hir_transforms.weights.settings import WeightOptions


@dataclass(frozen=True, kw_only=True)
class PipelineConfig:
    """What the commands do; `PipelineConfig.of(raw="raw.jsonl", num_to_sample=5, ...)` makes one of single settings.

    Attributes:
        auto: names of the settings that are left to be chosen by trial; until then they have their defaults.

    Raises:
        UserError: naming the setting and the bad value.
    """

    inputs: InputOptions = field(default_factory=InputOptions)
    lines: LineSettings = field(default_factory=LineSettings)
    selection: SelectionOptions = field(default_factory=SelectionOptions)
    weights: WeightOptions = field(default_factory=WeightOptions)
    ngrams: NgramSettings = field(default_factory=NgramSettings)
    ngram_fit: NgramFitOptions = field(default_factory=NgramFitOptions)
    embeddings: EmbeddingOptions = field(default_factory=EmbeddingOptions)
    mixtures: MixtureOptions = field(default_factory=MixtureOptions)
    output: OutputOptions = field(default_factory=OutputOptions)
    work: WorkOptions = field(default_factory=WorkOptions)
    run: RunOptions = field(default_factory=RunOptions)
    evaluation: EvaluationOptions = field(default_factory=EvaluationOptions)
    auto: tuple[str, ...] = ()

    @classmethod
    def of(cls, **settings: Any) -> "PipelineConfig":
        """A config of single settings, by their names; values may also be the texts of flags.

        Raises:
            UserError: naming the setting and the bad value.
            TypeError: for a setting that there is none of.
        """
        auto = tuple(name for name, one in SETTINGS.items() if name in settings and one.is_auto(settings[name]))
        for name in auto:
            del settings[name]
        groups = {}
        for group, options in _GROUPS.items():
            given = [one.name for one in declared(options) if one.name in settings]
            groups[group] = options(**{name: settings.pop(name) for name in given})
        if settings:
            raise TypeError(f"no setting of the name {next(iter(settings))}")
        return cls(**groups, auto=auto)

    def chosen(self, values: Mapping[str, Any]) -> "PipelineConfig":
        """The same with these values of settings, by name, and none left to be chosen; None leaves the default."""
        changed = {}
        for group, options in _GROUPS.items():
            of_group = {one.name: values[one.name] for one in declared(options) if values.get(one.name) is not None}
            changed[group] = replace(getattr(self, group), **of_group)
        return replace(self, **changed, auto=())

    def check_selection(self) -> None:
        """Raises `UserError` unless it is told how much to select, and where to."""
        output = self.output.output
        if output is None:
            raise UserError("--output is required")
        if f"{self.work_dir}/".startswith(f"{output}/"):
            raise UserError(f"--work_dir: {self.work_dir} must not be in --output {output}, which is replaced whole")
        if not self.selects:
            raise UserError(
                "--num_to_sample is required: how many documents to select (or --num_tokens_to_sample: tokens)"
            )

    def check_targets(self) -> None:
        """Raises `UserError` where a target is missing that something is fitted to, or takes its share from."""
        inputs, weights, mixtures = self.inputs, self.weights, self.mixtures
        if not inputs.target and (weights.fits_ngrams or self.embeds_target):
            raise UserError("--target is required")
        if inputs.separate_targets and not inputs.target:
            raise UserError("--separate_targets: needs --target, a pattern for each target")
        if mixtures.target_gmm and len(mixtures.target_gmm) != self.num_targets:
            raise UserError(f"--target_gmm: {len(mixtures.target_gmm)} files for {self.num_targets} targets")
        if not self.selects:
            return
        hint = "" if inputs.separate_targets else " (--separate_targets makes each pattern of --target one)"
        self.selection.check_num_targets(self.num_targets, hint)
        counted = weights.fits_ngrams or (weights.alpha == 0 and self.embeds_target)
        if self.selection.target_proportions is None and self.num_targets > 1 and not counted:
            raise UserError("--target_proportions is required: no target is counted to take its share from")

    def check_weights(self) -> None:
        """Raises `UserError` for settings of n-gram weights that do not go together."""
        if self.auto:
            given = ["ngram_weights", "gmm_weights", *(["weight_per_token"] if "ngram_estimator" in self.auto else [])]
            found = [name for name in given if getattr(self.weights, name)]
            found += [dataset.role for dataset in self.mixtures.files()]
            if found:
                named = "ngram_estimator" if found[0] == "weight_per_token" else self.auto[0]
                raise UserError(f"--{named}: auto does not go with --{found[0]}; leave one of the two out")
        by_classifier = self.weights.fits_ngrams and self.ngram_fit.ngram_estimator == "classifier"
        if self.weights.weight_per_token and by_classifier:
            raise UserError(
                "--weight_per_token: weights by --ngram_estimator classifier do not grow with a document's length; "
                "leave one of the two out"
            )

    @property
    def raw(self) -> Dataset:
        """The raw documents."""
        load, parse = self.inputs.raw_load_dataset_fn, self.inputs.raw_parse_example_fn
        return Dataset("raw", self.inputs.raw, load_dataset_fn=load, parse_example_fn=parse, **vars(self.lines))

    @property
    def target(self) -> Dataset | None:
        """The documents of all targets; None where none are given."""
        if not self.inputs.target:
            return None
        text_field = self.inputs.target_text_field or self.lines.text_field
        load, parse = self.inputs.target_load_dataset_fn, self.inputs.target_parse_example_fn
        lines = {**vars(self.lines), "text_field": text_field}
        return Dataset("target", self.inputs.target, load_dataset_fn=load, parse_example_fn=parse, **lines)

    @property
    def work_dir(self) -> str:
        """The work folder, by default beside the output; raises `UserError` where neither is given."""
        if self.work.work_dir:
            return self.work.work_dir
        if self.output.output is None:
            raise UserError("--work_dir is required: the folder that later runs find the result in")
        return f"{self.output.output}.work"

    @property
    def selects(self) -> bool:
        """Whether a number of documents or tokens is to be selected."""
        return self.selection.num_to_sample is not None or self.selection.num_tokens_to_sample is not None

    @property
    def num_targets(self) -> int:
        """How many targets have weights of their own."""
        return self.inputs.num_targets

    @property
    def embeds_target(self) -> bool:
        """Whether the target is embedded, for a model of its embeddings to be fitted."""
        given = self.weights.embedding_estimator == "mixture" and self.mixtures.target_gmm
        return self.weights.scores_embeddings and not given

    def settings(self) -> dict[str, Any]:
        """For the output's manifest: every setting that the result depends on, JSON values only."""
        found = {}
        for group in _GROUPS:
            options = getattr(self, group)
            counting = {one.name for one in fields(options) if not one.metadata.keys() & NO_EFFECT.keys()}
            for one in declared(type(options)):
                if one.name in counting:
                    value = getattr(options, one.name)
                    found[one.name] = _to_json(value)
                    if one.declaration.kind.is_patterns and not value:
                        found[one.name] = None
        return found


def _to_json(value: Any) -> Any:
    if isinstance(value, UserFunction):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


_GROUPS: dict[str, Any] = {
    one.name: one.default_factory for one in fields(PipelineConfig) if one.default_factory is not MISSING
}
# Every setting by its name, in the order in which help and documentation show them.
SETTINGS: dict[str, Setting] = {one.name: one for group in _GROUPS.values() for one in declared(group)}
