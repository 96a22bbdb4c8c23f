"""What each command adds to its graph: the steps of what is missing, and the reads that these take."""

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.pipeline import PipelineVisitor

from hir_transforms.graph.graph import Graph
from hir_transforms.graph.plan import plan_stages
from hir_transforms.settings.config import PipelineConfig
from pipelines import fit, score
from tests.helpers.corpora import jsonl

NGRAMS = {"Raw", "CountRaw", "Target", "CountTarget", "NgramEstimator"}
CHECKS = {"RawRead", "TargetRead"}
EMBEDDINGS = {"RawEmbeddings", "TargetEmbeddings", "Projection"}
MIXTURES = {"RawMixture", "TargetMixture0"}
SCORE_EMBEDDINGS = {"AllRawEmbeddings", "EmbeddingRatio", "MixtureRatio", "ScoreEmbeddings"}


@pytest.fixture
def config(tmp_path):
    for role in ("raw", "target"):
        (tmp_path / f"{role}.jsonl").write_bytes(jsonl([role]))
        np.save(tmp_path / f"{role}.npy", np.zeros((1, 8)))

    def config(**settings):
        files = {role: f"{tmp_path}/{role}.jsonl" for role in ("raw", "target")}
        rows = {f"{role}_embeddings": f"{tmp_path}/{role}.npy" for role in ("raw", "target")}
        return PipelineConfig.of(**files, **rows, work_dir=f"{tmp_path}/work", embedding_dim=2, **settings)

    return config


def steps(config, compose, missing):
    """The outermost steps of a graph in which stages of these names are missing; of all stages, for None."""

    class Labels(PipelineVisitor):
        def __init__(self):
            self.found = []

        def enter_composite_transform(self, node):
            self.visit_transform(node)

        def visit_transform(self, node):
            if node.full_label and "/" not in node.full_label:
                self.found.append(node.full_label)

    stages = plan_stages(config)
    pipeline = beam.Pipeline()
    compose(Graph(pipeline, config, stages, [one for one in stages.all if missing is None or one.name in missing]))()
    labels = Labels()
    pipeline.visit(labels)
    assert len(labels.found) == len(set(labels.found))
    return set(labels.found)


def test_with_nothing_at_hand_all_is_computed(config):
    scores = {"Score", "OneTarget", "Mix"}
    assert steps(config(alpha=1), score.compose, None) == NGRAMS | scores
    everything = NGRAMS | CHECKS | EMBEDDINGS | MIXTURES | SCORE_EMBEDDINGS | scores
    assert steps(config(alpha=0.5), score.compose, None) == everything
    enough = {"CheckBudget", "RawChecks", "RawChecked", "TargetChecks", "TargetChecked"}
    assert steps(config(alpha=0.5, num_to_sample=1), score.compose, None) == everything | enough
    assert steps(config(alpha=0), score.compose, None) == everything - NGRAMS - {"TargetRead"} | {"Raw"}


def test_what_is_complete_is_read_only_where_something_takes_it(config):
    mixing = {"Documents", "OneTarget", "Mix"}
    assert steps(config(), score.compose, {"scores"}) == mixing
    weighing = SCORE_EMBEDDINGS | MIXTURES | {"RawEmbeddings"}
    assert steps(config(), score.compose, {"gmm_weights", "scores"}) == mixing | weighing
    scoring = {"Raw", "NgramEstimator", "Score", "OneTarget", "Mix"}
    assert steps(config(), score.compose, {"ngram_weights", "scores"}) == scoring
    assert steps(config(), score.compose, set()) == {"Scores"}


def test_a_classifier_takes_the_place_of_the_mixtures(config):
    classifier = config(alpha=0, embedding_estimator="classifier")
    fitting = {"Raw", "RawRead", "Score", "EmbeddingClassifier"} | EMBEDDINGS
    assert steps(classifier, fit.compose, None) == fitting
    scoring = {"AllRawEmbeddings", "EmbeddingRatio", "ScoreEmbeddings", "OneTarget", "Mix"}
    assert steps(classifier, score.compose, None) == fitting | scoring
    known = {"Documents", "RawEmbeddings", "EmbeddingClassifier"}
    assert steps(classifier, score.compose, {"gmm_weights", "scores"}) == known | scoring


def test_fit_adds_the_models_alone(config):
    assert steps(config(), fit.compose, None) == NGRAMS | CHECKS | EMBEDDINGS | MIXTURES | {"Score"}
    assert steps(config(), fit.compose, {"gmm/raw"}) == {"RawEmbeddings", "Projection", "RawMixture"}
    assert steps(config(alpha=1), fit.compose, {"ngram"}) == {"RawCounts", "TargetCounts", "NgramEstimator"}
    assert steps(config(), fit.compose, set()) == set()
