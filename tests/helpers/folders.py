"""What folders hold."""

from pathlib import Path

from hir_transforms.artifacts.runs import RUNS
from hir_transforms.files import storage


def contents(folder: Path) -> dict[str, bytes]:
    """Content by relative path of every file below a local folder, but for what tells how long runs took."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != RUNS)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def stored(folder: str) -> dict[str, bytes]:
    """As `contents`, of a folder on any file system."""
    paths = (path for path in storage.list_folder(folder) if not path.endswith(RUNS))
    return {path[len(folder) + 1 :]: storage.read_bytes(path) for path in paths}
