"""The report's claims on SimSiam, its ablations and its rivals."""

from dataclasses import dataclass

import numpy as np

from triptych.core.errors import InputError
from triptych.results.formatting import PERCENT, PLAIN, POINTS, written, written_limit
from triptych.results.reader import Metrics, UnmeasuredError
from triptych.statistics.estimate import Estimate
from triptych.studies.evidence import Evidence
from triptych.studies.params import ClaimsParams
from triptych.studies.record import Claim
from triptych.studies.ruling import Condition, Ruling, every, finding, unanimous
from triptych.studies.ssl.variants import (
    BASELINE,
    NO_PREDICTOR,
    NO_STOP_GRADIENT,
    REPORT_DIMS,
    WIDE,
    results_path,
    variants,
)


@dataclass(frozen=True)
class Variant:
    """One entry of ssl.variants after training.

    Attributes:
        dim: size of the projector's output.
        metrics: what was measured.
        results: the path of its results by image.
        correct: (seeds, test images) whether the nearest neighbours name the class; None without labels.
    """

    dim: int
    metrics: Metrics
    results: str
    correct: np.ndarray | None


def trained(evidence: Evidence, name: str) -> Variant:
    """A variant with what its files hold.

    Raises:
        InputError: a file is missing or damaged.
    """
    results = results_path(name)
    return Variant(
        dim=variants(evidence.results.params)[name].dim,
        metrics=evidence.results.metrics(f"ssl/{name}"),
        results=results,
        correct=evidence.results.arrays(results).get("knn_correct"),
    )


def knn_difference(evidence: Evidence, one: str, other: str) -> Estimate:
    """kNN accuracy of one variant minus that of another, on the same test images and seeds.

    Raises:
        UnmeasuredError: there are no labels to be right about.
        InputError: the two were not measured on the same images and seeds.
    """
    a, b = trained(evidence, one), trained(evidence, other)
    for variant in (a, b):
        if variant.correct is None:
            raise UnmeasuredError(f"{variant.results} holds no knn_correct, as on images without labels")
    if a.correct.shape != b.correct.shape:
        raise InputError(
            f"{a.results}: its (seeds, images) {a.correct.shape} differ from the {b.correct.shape} of {b.results}; run "
            "evaluate_ssl again"
        )
    return evidence.resampling.seeded(a.correct.astype(np.float64) - b.correct, f"{one} {other}")


def stop_gradient(evidence: Evidence, limits: ClaimsParams) -> Ruling:
    """Accuracy falls, embeddings collapse by their own measure, and the loss of every seed is near its floor."""
    given, ablation = limits.ssl, trained(evidence, NO_STOP_GRADIENT)
    difference = knn_difference(evidence, NO_STOP_GRADIENT, BASELINE)
    loss = _over_seeds(ablation, "final_loss")
    asked = {
        f"Accuracy falls by more than {written_limit(given.knn_drop, POINTS)}": difference.below(-given.knn_drop),
        "Embeddings collapsed": _collapsed(ablation),
        f"Loss at its floor of −1, below {written_limit(given.loss_floor)}": loss.below(given.loss_floor),
    }
    holds = every(*asked.values())
    seen = f"{_fall(evidence, NO_STOP_GRADIENT, 'without stop-gradient', difference)} {_embeddings(ablation)}"
    return Ruling(
        holds,
        difference,
        -given.knn_drop,
        finding(
            f"{seen} The final loss is {written(loss.value, PLAIN)}, SimSiam's "
            f"{written(trained(evidence, BASELINE).metrics.number('final_loss'), PLAIN)}.",
            asked,
            holds,
            "More seeds would decide it.",
        ),
        _numbers(evidence, NO_STOP_GRADIENT)
        | {"loss_threshold": given.loss_floor, "lowest_final_loss": loss.low, "highest_final_loss": loss.high},
    )


def predictor(evidence: Evidence, limits: ClaimsParams) -> Ruling:
    """Significantly worse: accuracy alone decides. Whether embeddings collapse is told besides."""
    difference, threshold = knn_difference(evidence, NO_PREDICTOR, BASELINE), -limits.ssl.knn_drop
    holds, ablation = difference.below(threshold), trained(evidence, NO_PREDICTOR)
    return Ruling(
        holds,
        difference,
        threshold,
        finding(
            f"{_fall(evidence, NO_PREDICTOR, 'without the predictor', difference)} {_embeddings(ablation)}",
            {
                f"Worse by more than {written_limit(limits.ssl.knn_drop, POINTS)}": holds,
                "Embeddings collapsed, which this claim does not ask": _collapsed(ablation),
            },
            holds,
            "More seeds would decide it.",
        ),
        _numbers(evidence, NO_PREDICTOR),
    )


def wider_projector(evidence: Evidence, limits: ClaimsParams) -> Ruling:
    """Helps: the difference is above zero. Not so if it is below, or too small either way to speak of."""
    difference, margin = knn_difference(evidence, WIDE, BASELINE), limits.ssl.no_difference
    better, negligible = difference.above(0.0), difference.within(margin)
    holds = True if better else False if better is False or negligible else None
    wide, narrow = trained(evidence, WIDE), trained(evidence, BASELINE)
    return Ruling(
        holds,
        difference,
        0.0,
        finding(
            f"With a projector output of {_dim(wide, REPORT_DIMS[WIDE])} kNN accuracy is {_accuracy(wide)}, and with "
            f"{_dim(narrow, REPORT_DIMS[BASELINE])} {_accuracy(narrow)}: {written(difference, POINTS)}.",
            {"Better": better, f"Within {written_limit(margin, POINTS)} of no difference": negligible},
            holds,
            "More seeds would decide it.",
        ),
        _numbers(evidence, WIDE)
        | {
            "no_difference": margin,
            f"{WIDE}_projector_dim": wide.dim,
            f"{BASELINE}_projector_dim": narrow.dim,
        },
    )


def _numbers(evidence: Evidence, variant: str) -> dict[str, float]:
    """What an ablation is compared by, under names that say whose it is."""
    metrics = trained(evidence, variant).metrics
    keys = ("knn_accuracy", "final_loss", "embedding_std", "effective_rank", "collapsed")
    return {
        **{f"{variant}_{key}": metrics.number(key) for key in keys},
        **{f"{BASELINE}_{key}": trained(evidence, BASELINE).metrics.number(key) for key in keys},
        "random_init_knn_accuracy": metrics.number("random_init_knn_accuracy"),
        "seeds": len(trained(evidence, variant).correct),
    }


def _fall(evidence: Evidence, variant: str, name: str, difference: Estimate) -> str:
    floor = trained(evidence, variant).metrics.number("random_init_knn_accuracy")
    return (
        f"SimSiam's kNN accuracy is {_accuracy(trained(evidence, BASELINE))} and {name} "
        f"{_accuracy(trained(evidence, variant))}, {written(difference, POINTS)}; an untrained encoder has "
        f"{written(floor, PERCENT)}."
    )


def _embeddings(variant: Variant) -> str:
    numbers = variant.metrics
    return (
        f"The std of its embeddings is {written(numbers.number('embedding_std'), PLAIN)} of an even spread's, and "
        f"their effective rank {written(numbers.number('effective_rank'), PLAIN)}."
    )


def _collapsed(variant: Variant) -> Condition:
    """Whether they collapsed by std and rank, not by accuracy; open if seeds differ."""
    return unanimous(*(bool(found) for found in _each_seed(variant, "collapsed")))


def _over_seeds(variant: Variant, key: str) -> Estimate:
    """A number's mean over seeds and its range: a threshold inside it is met by some seeds only."""
    values = _each_seed(variant, key)
    return Estimate(variant.metrics.number(key), min(values), max(values))


def _each_seed(variant: Variant, key: str) -> list[float]:
    values = [row.number(key) for row in variant.metrics.rows("seeds")]
    if not values:
        raise UnmeasuredError(f"{variant.metrics.path} holds no {key} of each seed")
    return values


def _accuracy(variant: Variant) -> str:
    return written(variant.metrics.number("knn_accuracy"), PERCENT)


def _dim(variant: Variant, of_report: int) -> str:
    """`2048`, or `512 (for the report's 2048)` where the profile is smaller."""
    same = variant.dim == of_report
    return str(variant.dim) if same else f"{variant.dim} (for the report's {of_report})"


ABLATIONS = (
    Claim(
        id="stop-gradient",
        claim="Without stop-gradient accuracy collapses and the loss reaches its floor.",
        report_says="Without stop-gradient kNN accuracy collapses, and the training loss reaches its floor, which the "
        "report gives as 1 (it is −1).",
        figures=("simsiam_stop_gradient_*",),
        statistic="kNN accuracy without stop-gradient minus SimSiam's, paired over test images and seeds; "
        "whether its embeddings collapsed, by std and effective rank; and its final loss",
        variants=(BASELINE, NO_STOP_GRADIENT),
        format=POINTS,
        decide=stop_gradient,
    ),
    Claim(
        id="predictor",
        claim="Without the predictor SimSiam is significantly worse.",
        report_says="With the predictor MLP replaced by the identity, kNN accuracy is significantly worse.",
        figures=("simsiam_predictor_*",),
        statistic="kNN accuracy without the predictor minus SimSiam's, paired over test images and seeds",
        variants=(BASELINE, NO_PREDICTOR),
        format=POINTS,
        decide=predictor,
    ),
    Claim(
        id="dim-4096",
        claim="A projector output of 4096 dimensions is better than one of 2048.",
        report_says="A wider projector output, 4096 instead of 2048, helps.",
        figures=("simsiam_projector_*",),
        statistic="kNN accuracy with the wider projector output minus SimSiam's, paired over test images and seeds",
        variants=(BASELINE, WIDE),
        format=POINTS,
        decide=wider_projector,
    ),
)

# What decides them comes with their methods.
RIVALS = (
    Claim(
        id="barlow-no-tricks",
        claim="Barlow Twins needs no predictor, stop-gradient, momentum encoder or large batch, and gains from a high "
        "dimension.",
        report_says="Barlow Twins does without the tricks of the others, at any batch size, and is better the wider "
        "its output.",
        statistic="kNN accuracy of Barlow Twins at three batch sizes and three dimensions",
        variants=("barlow_twins",),
        format=POINTS,
    ),
    Claim(
        id="heavy-augmentation",
        claim="Heavy augmentation misleads SimSiam; a momentum encoder eases it, and DSSL solves it.",
        report_says="Heavy augmentation misleads SimSiam, a momentum encoder eases this, and DSSL solves it.",
        statistic="kNN accuracy of SimSiam, BYOL and DSSL with heavy views minus that without",
        variants=(BASELINE, "byol", "dssl"),
        format=POINTS,
    ),
    Claim(
        id="vicreg-terms",
        claim="VICReg's variance term prevents collapse and its covariance term decorrelates.",
        report_says="The variance term prevents collapse, and the covariance term decorrelates the dimensions.",
        statistic="embedding std, effective rank and kNN accuracy of VICReg without each term",
        variants=("vicreg",),
    ),
    Claim(
        id="byol-vs-simsiam",
        claim="BYOL learns from a momentum teacher, and SimSiam does without one.",
        report_says="BYOL has a momentum teacher, and SimSiam has none.",
        statistic="kNN accuracy of BYOL minus SimSiam's",
        variants=(BASELINE, "byol"),
        format=POINTS,
    ),
    Claim(
        id="asymmetry",
        claim="Asymmetric views of source and target help.",
        report_says="Asymmetric augmentation of source and target is better than the same for both.",
        statistic="kNN accuracy of AsymSiam minus that of the symmetric baseline",
        variants=(BASELINE, "asymsiam"),
        format=POINTS,
    ),
)

CLAIMS = (*ABLATIONS, *RIVALS)
