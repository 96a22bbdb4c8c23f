"""Makes the API reference of the public names from their docstrings: `python docs/make_reference.py FOLDER`."""

import sys
import warnings
from pathlib import Path

import pdoc
import pdoc.render

import hir_transforms


def main(folder: str) -> None:
    """Writes the pages; whatever pdoc warns of is an error."""
    for name in hir_transforms.__all__:  # which the package imports when they are asked for, and pdoc does not ask
        vars(hir_transforms)[name] = getattr(hir_transforms, name)
    pdoc.render.configure(docformat="google", show_source=False, footer_text=f"hir-beam {hir_transforms.__version__}")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pdoc.pdoc("hir_transforms", "hir_transforms.compat", output_directory=Path(folder))


if __name__ == "__main__":
    main(sys.argv[1])
