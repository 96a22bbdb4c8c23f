"""What folders hold."""

from pathlib import Path

from hir_transforms.files import storage


def contents(folder: Path) -> dict[str, bytes]:
    """Content by relative path of every file below a local folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def stored(folder: str) -> dict[str, bytes]:
    """Content by relative path of every file below a folder on any file system."""
    return {path[len(folder) + 1 :]: storage.read_bytes(path) for path in storage.list_folder(folder)}
