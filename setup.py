"""Entry point for runners that build the package themselves (`--setup_file ./setup.py`); see pyproject.toml."""

from setuptools import setup

setup()
