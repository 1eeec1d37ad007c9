"""The study of SimSiam, its ablations and rivals."""

from collections.abc import Mapping
from pathlib import Path

from triptych.report.claims import read_claims
from triptych.report.metrics import metrics
from triptych.report.record import Model, Study
from triptych.ssl.words import compared
from triptych.ssl.words.figures import FIGURES
from triptych.ssl.words.variants import remark, title, variants


def models(params: Mapping) -> list[Model]:
    """Return one model per variant."""
    return [
        Model(f"ssl/{name}", title(name), f"ssl@{name}", f"evaluate_ssl@{name}", settings.described)
        for name, settings in variants(params).items()
    ]


STUDY = Study(
    slug="simsiam",
    short="SimSiam",
    title="SimSiam, its ablations and rivals",
    question="An encoder learns to give two distorted views of one image the same embedding, without other images for "
    "contrast. What keeps it from giving every image the same?",
    models=models,
    metrics=metrics("ssl", "timing"),
    claims=read_claims(
        Path(__file__).with_name("claims.yaml"),
        *(compared.accuracies, compared.knn_difference, compared.lowest_margin, compared.each_seed, compared.bound),
        *(compared.at_equal, compared.projector_dim, compared.learns, compared.stable, compared.facts_of),
    ),
    figures=FIGURES,
    settings={
        "ssl.shared.backbone.name": "SimSiam: encoder",
        "ssl.methods.simsiam.training.epochs": "SimSiam: epochs",
        "ssl.methods.simsiam.training.batch_size": "SimSiam: batch size",
        "ssl.methods.simsiam.training.optimiser.learning_rate": "SimSiam: learning rate",
        "ssl.shared.seeds": "SimSiam: seeds of each variant",
        "evaluation.ssl.knn.neighbours": "kNN: k",
        "evaluation.ssl.knn.temperature": "kNN: temperature",
        "evaluation.ssl.collapse.embedding_std": "collapsed below an embedding std of",
    },
    corrections=(
        "The loss is a negative cosine, so its floor is −1, not 1.",
        "Stop-gradient acts on the target branch: the branch with the predictor is the one that learns.",
        "SimSiam does not reconstruct its input; it only makes the embeddings of two views agree.",
        "BYOL is not contrastive: it uses no negatives.",
    ),
    remark=remark,
)
