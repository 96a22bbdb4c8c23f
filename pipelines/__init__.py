"""Command-line pipelines over `hir_transforms`; each module has a `run(argv)` that returns an exit status."""
