"""Imports and loads, when it is imported itself, what commands and their workers would: slow, and for all the same."""

import importlib

from apache_beam.runners.worker import statecache

from hir_transforms.ngrams.features import NgramSettings, warm_up
from hir_transforms.report.page import page_template

for name in (
    *(f"pipelines.{command}" for command in ("__main__", "embed", "evaluate", "fit", "resample", "score", "select")),
    *("apache_beam.runners.worker.sdk_worker_main", "hir_transforms.mixtures.estep", "rich.live"),
    *("sentence_transformers", "sklearn.cluster", "sklearn.linear_model"),
):
    importlib.import_module(name)
warm_up(NgramSettings())
page_template()
statecache.get_deep_size = lambda *_: 64  # as in `conftest`
