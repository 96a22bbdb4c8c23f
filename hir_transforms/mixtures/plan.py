"""The stages of the projection and the mixtures, and what each depends on: the embeddings, and how it is fitted."""

from dataclasses import dataclass

from hir_transforms.artifacts.stages import Stage
from hir_transforms.common.errors import UserError
from hir_transforms.embeddings.plan import EmbeddingStages
from hir_transforms.embeddings.source import EmbeddingSource
from hir_transforms.mixtures.fit_projection import ProjectionSettings
from hir_transforms.mixtures.fitting import MixtureSettings
from hir_transforms.mixtures.given import GivenMixture, GivenMixtures, given_mixtures
from hir_transforms.mixtures.settings import MixtureOptions

Mixture = Stage[MixtureSettings] | GivenMixture


@dataclass(frozen=True)
class MixtureStages:
    """The mixtures of raw and of each target: a stage each, or the file that the user gave instead.

    Attributes:
        raw, targets: the mixtures.
    """

    raw: Mixture
    targets: tuple[Mixture, ...]

    @property
    def fitted(self) -> list[Stage[MixtureSettings]]:
        """The mixtures that are fitted."""
        return [mixture for mixture in (self.raw, *self.targets) if isinstance(mixture, Stage)]

    @property
    def given(self) -> GivenMixtures:
        """The mixtures that are not."""
        raw = self.raw if isinstance(self.raw, GivenMixture) else None
        return GivenMixtures(raw, tuple(one for one in self.targets if isinstance(one, GivenMixture)))


def find_given(options: MixtureOptions) -> GivenMixtures:
    """The mixtures that the options name.

    Raises:
        UserError: for a file that holds none, or does not go with the others or with a projection.
    """
    given = given_mixtures(options.raw_gmm, options.target_gmm)
    if options.embedding_dim and (given.raw or given.targets):
        flags = " and ".join(dict.fromkeys(one.flag for one in (given.raw, *given.targets) if one))
        raise UserError(f"--embedding_dim: does not go with a given mixture ({flags}), which has its own")
    return given


def mixture_settings(
    options: MixtureOptions, role: str, *, seed: int = 0, target: int | None = None
) -> MixtureSettings:
    """How the mixture of "raw" or "target" is fitted; `target` is the number of one of several."""
    return MixtureSettings(
        options.max_components(role),
        options.gmm_max_iter,
        options.gmm_tol,
        seed,
        options.max_samples(role),
        target,
        options.rows_per_component(role),
    )


def plan_projection(raw: Stage[EmbeddingSource], options: MixtureOptions) -> Stage[ProjectionSettings] | None:
    """The stage of the projection, fitted on raw's embeddings and the same for all models; None for none."""
    if not options.embedding_dim:
        return None
    return Stage.create("projection", raw.work_dir, ProjectionSettings(options.embedding_dim), upstream=[raw])


def plan_mixtures(
    embeddings: EmbeddingStages,
    projection: Stage[ProjectionSettings] | None,
    given: GivenMixtures,
    *,
    num_targets: int,
    options: MixtureOptions,
    seed: int,
) -> MixtureStages:
    """The stages of the mixtures that are not given."""

    def fitted(name: str, embedded: Stage[EmbeddingSource], target: int | None = None) -> Stage[MixtureSettings]:
        settings = mixture_settings(options, embedded.dataset.role, seed=seed, target=target)
        upstream: list[Stage] = [embedded, *([projection] if projection else [])]
        return Stage.create(f"gmm/{name}", embedded.work_dir, settings, upstream=upstream)

    targets: tuple[Mixture, ...] = given.targets
    if not targets:
        assert embeddings.target
        # Only where there are several is it a question which documents belong to the target.
        numbers = range(num_targets) if num_targets > 1 else [None]
        targets = tuple(fitted(f"target-{number or 0}", embeddings.target, number) for number in numbers)
    return MixtureStages(given.raw or fitted("raw", embeddings.raw), targets)
