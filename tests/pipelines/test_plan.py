import unicodedata

import pytest

from hir_transforms.numerics import ngrams
from pipelines.options import SelectOptions, parse_options, select_config
from pipelines.plan import plan_stages
from tests.helpers.corpora import jsonl


@pytest.fixture
def fingerprints(tmp_path):
    """Calling it plans a selection by n-grams: the fingerprint of each stage."""
    for name in ("raw", "target"):
        (tmp_path / f"{name}.jsonl").write_bytes(jsonl([name]))
    flags = [f"--{name}={tmp_path / name}.jsonl" for name in ("raw", "target")]
    flags += [f"--output={tmp_path / 'out'}", "--alpha=1", "--num_to_sample=1", "--hash=fast"]

    def plan():
        options = parse_options(flags, SelectOptions, "hir select")
        return {
            stage.name: stage.fingerprint for stage in plan_stages(select_config(options.view_as(SelectOptions))).all
        }

    return plan


def changed(fingerprints, before):
    return {name for name, fingerprint in fingerprints().items() if fingerprint != before[name]}


def test_another_unicode_version_makes_other_tokens(fingerprints, monkeypatch):
    before = fingerprints()
    assert changed(fingerprints, before) == set()
    monkeypatch.setattr(unicodedata, "unidata_version", "99.0.0")
    assert changed(fingerprints, before) == set(before)


def test_another_version_of_the_hash_makes_other_counts(fingerprints, monkeypatch):
    before = fingerprints()
    monkeypatch.setitem(ngrams.HASH_ALGORITHMS, "fast", "fast-v1")
    assert changed(fingerprints, before) == set(before) - {"documents"}
