"""The settings of what is kept between runs."""

from dataclasses import dataclass

from hir_transforms.common.fingerprints import NO_EFFECT
from hir_transforms.common.settings import ALL_COMMANDS, TRYING, UINT32_MAX, Settings, in_range, setting
from hir_transforms.documents.settings import FOLDER


@dataclass(frozen=True, kw_only=True)
class WorkOptions(Settings):
    """The work folder, and the seed of what is computed for it."""

    work_dir: str | None = setting(
        None,
        "folder for what a later run can use again",
        task="work folder",
        commands=ALL_COMMANDS,
        kind=FOLDER,
        shown_default="OUTPUT.work",
        no_default_in=("evaluate",),
        metadata=NO_EFFECT,
    )
    fit_seed: int = setting(
        0,
        "seed of the random choices in counting and fitting",
        task="work folder",
        commands=TRYING,
        check=in_range(0, UINT32_MAX),  # what k-means takes
    )
