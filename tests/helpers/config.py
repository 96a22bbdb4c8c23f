"""Settings of a selection."""

from hir_transforms.settings.config import PipelineConfig

GIVEN = {
    "raw": "/data/raw.jsonl",
    "target": "/data/a.jsonl,/data/b.jsonl",
    "output": "/out",
    "num_to_sample": 10,
}
CONFIG = PipelineConfig.of(**GIVEN)


def changed(**settings):
    """These settings with others in some places."""
    return PipelineConfig.of(**(GIVEN | settings))
