"""Command-line pipelines over `hir_transforms`; each module has a `run(argv)` that returns an exit status."""

import logging

# Beam logs this on import whenever its Google Cloud extra is absent; it concerns nobody who runs elsewhere.
logging.getLogger().addFilter(lambda record: "apitools not found" not in record.getMessage())
