"""How the models behind a selection were fitted: what the manifests of their stages tell, and EM's course."""

import io
from collections.abc import Sequence
from typing import Any

from hir_transforms.artifacts.stages import Stage
from hir_transforms.files import storage
from hir_transforms.mixtures.em import GaussianMixture

_MOST_ITERATIONS = 200


def describe_stages(work_dir: str, names: Sequence[str]) -> list[dict[str, Any]]:
    """What stages have counted, numbers and texts alone, and of mixtures the log likelihood after each iteration."""
    found = []
    for name in names:
        stage: Stage = Stage(name, work_dir, {}, (), (), "")
        manifest = stage.read_manifest()
        if not manifest:
            continue
        counts = {
            key: value for key, value in manifest["counts"].items() if isinstance(value, int | float | str | bool)
        }
        warning = counts.pop("warning", None)
        told: dict[str, Any] = {"stage": name, "counts": counts, "warning": warning}
        if name.startswith("gmm/"):
            told["log_likelihood"] = _log_likelihood(f"{stage.folder}.npz")
        found.append({key: value for key, value in told.items() if value is not None})
    return found


def _log_likelihood(path: str) -> list[float]:
    """That of each iteration of a fitted mixture; of many, the last ones."""
    if not storage.exists(path):
        return []
    mixture = GaussianMixture.load(io.BytesIO(storage.read_bytes(path)))
    return [float(one) for one in mixture.log_likelihood[-_MOST_ITERATIONS:]]
