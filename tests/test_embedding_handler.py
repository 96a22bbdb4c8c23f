import numpy as np

from hir_transforms.embedding_handler import SentenceTransformerHandler
from hir_transforms.embedding_model import find_model
from hir_transforms.records import DocumentBatch, DocumentGroup, SourceFile


def test_rows_of_a_group_do_not_depend_on_other_groups():
    def group(texts, block):
        file = SourceFile(0, "raw.jsonl", "raw.jsonl", 0, 0.0)
        offsets = np.arange(len(texts))
        return DocumentGroup((0, block), [DocumentBatch(file, block, offsets, offsets, texts)])

    handler = SentenceTransformerHandler(find_model("all-MiniLM-L6-v2"))
    model = handler.load_model()
    groups = [group(["a short text", "a rather longer text about gardens " * 50], 0), group(["another"], 1)]
    together = list(handler.run_inference(groups, model))
    for one, expected in zip(groups, together, strict=True):
        (alone,) = handler.run_inference([one], model)
        assert alone.example is one
        assert alone.inference.dtype == np.float32
        np.testing.assert_array_equal(alone.inference, expected.inference)
    assert together[0].inference.shape == (2, 384)
    np.testing.assert_allclose(np.linalg.norm(together[0].inference, axis=1), 1, rtol=1e-5)
