"""The packages of an installation; runners build it from here too (`--setup_file=./setup.py`). See pyproject.toml."""

from setuptools import find_packages, setup

# An installation has the commands inside the library: a package `pipelines` on the path may be anybody's.
setup(
    packages=[*find_packages(include=["hir_transforms*"]), "hir_transforms.pipelines"],
    package_dir={"hir_transforms.pipelines": "pipelines"},
)
