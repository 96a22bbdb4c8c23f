import time

from hir_transforms.commands.probing import Clock, DatasetProbe, loading_seconds, probe_documents
from hir_transforms.documents.datasets import Dataset
from hir_transforms.ngrams.features import NgramSettings
from tests.helpers.corpora import jsonl


def test_a_clock_adds_the_times_of_its_blocks_alone():
    clock = Clock()
    for _ in range(2):
        with clock.timed():
            time.sleep(0.02)
        time.sleep(0.05)
    assert 0.04 <= clock.wall < 0.1
    assert clock.processor < 0.04


def test_a_probe_tells_of_all_documents_of_a_small_dataset(tmp_path):
    path = tmp_path / "raw.jsonl"
    path.write_bytes(jsonl(["a b c", "d"]) + b"no json\n")
    probe: DatasetProbe = probe_documents(Dataset("raw", (str(path),)), NgramSettings(hash="fast"))
    assert (probe.texts, probe.tokens.tolist()) == (["a b c", "d"], [3, 1])
    assert probe.bytes == len(jsonl(["a b c", "d"]))
    assert probe.documents_per_byte == 2 / probe.bytes
    assert probe.reading > 0
    assert probe.counting > 0


def test_loading_is_what_a_new_process_takes():
    assert 0 < loading_seconds() < 60
    assert loading_seconds() == loading_seconds()  # measured once
