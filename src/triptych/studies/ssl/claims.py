"""The report's claims on SimSiam, its ablations and its rivals."""

from triptych.studies.claim import (
    Claim,
    Condition,
    Ruling,
    every,
    finding,
    limit,
    percent,
    plain,
    points,
    points_limit,
    shown,
    unanimous,
)
from triptych.studies.evidence import Estimate, Evidence, UnmeasuredError, Variant
from triptych.studies.params import ClaimsParams

BASELINE, WIDE = "simsiam", "projector_4096"
NO_STOP_GRADIENT, NO_PREDICTOR = "no_stop_gradient", "no_predictor"
# Projector outputs that the report compares.
REPORT_DIM, REPORT_WIDE_DIM = 2048, 4096


def stop_gradient(evidence: Evidence, limits: ClaimsParams) -> Ruling:
    """Accuracy falls, embeddings collapse by their own measure, and the loss of every seed is near its floor."""
    given, ablation = limits.ssl, evidence.variants[NO_STOP_GRADIENT]
    difference = evidence.knn_difference(NO_STOP_GRADIENT, BASELINE)
    loss = _over_seeds(ablation, "final_loss")
    asked = {
        f"Accuracy falls by more than {points_limit(given.knn_drop)}": difference.below(-given.knn_drop),
        "Embeddings collapsed": _collapsed(ablation),
        f"Loss at its floor of −1, below {limit(given.loss_floor)}": loss.below(given.loss_floor),
    }
    holds = every(*asked.values())
    seen = f"{_fall(evidence, NO_STOP_GRADIENT, 'without stop-gradient', difference)} {_embeddings(ablation)}"
    return Ruling(
        holds,
        difference,
        -given.knn_drop,
        finding(
            f"{seen} The final loss is {plain(loss.value)}, SimSiam's "
            f"{plain(evidence.variants[BASELINE].metrics.number('final_loss'))}.",
            asked,
            holds,
            "More seeds would decide it.",
        ),
        _numbers(evidence, NO_STOP_GRADIENT)
        | {"loss_threshold": given.loss_floor, "lowest_final_loss": loss.low, "highest_final_loss": loss.high},
    )


def predictor(evidence: Evidence, limits: ClaimsParams) -> Ruling:
    """Significantly worse: accuracy alone decides. Whether embeddings collapse is told besides."""
    difference, threshold = evidence.knn_difference(NO_PREDICTOR, BASELINE), -limits.ssl.knn_drop
    holds, ablation = difference.below(threshold), evidence.variants[NO_PREDICTOR]
    return Ruling(
        holds,
        difference,
        threshold,
        finding(
            f"{_fall(evidence, NO_PREDICTOR, 'without the predictor', difference)} {_embeddings(ablation)}",
            {
                f"Worse by more than {points_limit(limits.ssl.knn_drop)}": holds,
                "Embeddings collapsed, which this claim does not ask": _collapsed(ablation),
            },
            holds,
            "More seeds would decide it.",
        ),
        _numbers(evidence, NO_PREDICTOR),
    )


def wider_projector(evidence: Evidence, limits: ClaimsParams) -> Ruling:
    """Helps: the difference is above zero. Not so if it is below, or too small either way to speak of."""
    difference, margin = evidence.knn_difference(WIDE, BASELINE), limits.ssl.no_difference
    better, negligible = difference.above(0.0), difference.within(margin)
    holds = True if better else False if better is False or negligible else None
    wide, narrow = evidence.variants[WIDE], evidence.variants[BASELINE]
    return Ruling(
        holds,
        difference,
        0.0,
        finding(
            f"With a projector output of {_dim(wide, REPORT_WIDE_DIM)} kNN accuracy is {_accuracy(wide)}, and with "
            f"{_dim(narrow, REPORT_DIM)} {_accuracy(narrow)}: {shown(difference, points)}.",
            {"Better": better, f"Within {points_limit(margin)} of no difference": negligible},
            holds,
            "More seeds would decide it.",
        ),
        _numbers(evidence, WIDE)
        | {
            "no_difference": margin,
            f"{WIDE}_projector_dim": wide.projector_dim,
            f"{BASELINE}_projector_dim": narrow.projector_dim,
        },
    )


def _numbers(evidence: Evidence, variant: str) -> dict[str, float]:
    """What an ablation is compared by, under names that say whose it is."""
    metrics = evidence.variants[variant].metrics
    keys = ("knn_accuracy", "final_loss", "embedding_std", "effective_rank", "collapsed")
    return {
        **{f"{variant}_{key}": metrics.number(key) for key in keys},
        **{f"{BASELINE}_{key}": evidence.variants[BASELINE].metrics.number(key) for key in keys},
        "random_init_knn_accuracy": metrics.number("random_init_knn_accuracy"),
        "seeds": len(evidence.variants[variant].knn_correct),
    }


def _fall(evidence: Evidence, variant: str, name: str, difference: Estimate) -> str:
    floor = evidence.variants[variant].metrics.number("random_init_knn_accuracy")
    return (
        f"SimSiam's kNN accuracy is {_accuracy(evidence.variants[BASELINE])} and {name} "
        f"{_accuracy(evidence.variants[variant])}, {shown(difference, points)}; an untrained encoder has "
        f"{percent(floor)}."
    )


def _embeddings(variant: Variant) -> str:
    numbers = variant.metrics
    return (
        f"The std of its embeddings is {plain(numbers.number('embedding_std'))} of an even spread's, and their "
        f"effective rank {plain(numbers.number('effective_rank'))}."
    )


def _collapsed(variant: Variant) -> Condition:
    """The diagnosis by std and rank, not by accuracy; open if seeds differ."""
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
    return percent(variant.metrics.number("knn_accuracy"))


def _dim(variant: Variant, of_report: int) -> str:
    """`2048`, or `512 (for the report's 2048)` where the profile is smaller."""
    same = variant.projector_dim == of_report
    return str(variant.projector_dim) if same else f"{variant.projector_dim} (for the report's {of_report})"


ABLATIONS = (
    Claim(
        id="stop-gradient",
        claim="Without stop-gradient accuracy collapses and the loss reaches its floor.",
        report_says="Without stop-gradient kNN accuracy collapses, and the training loss reaches its floor, which the "
        "report gives as 1 (it is −1).",
        figures=(44, 45),
        statistic="kNN accuracy without stop-gradient minus SimSiam's, paired over test images and seeds; the "
        "diagnosis of its embeddings by std and effective rank; and its final loss",
        variants=(BASELINE, NO_STOP_GRADIENT),
        decide=stop_gradient,
    ),
    Claim(
        id="predictor",
        claim="Without the predictor SimSiam is significantly worse.",
        report_says="With the predictor MLP replaced by the identity, kNN accuracy is significantly worse.",
        figures=(46, 47),
        statistic="kNN accuracy without the predictor minus SimSiam's, paired over test images and seeds",
        variants=(BASELINE, NO_PREDICTOR),
        decide=predictor,
    ),
    Claim(
        id="dim-4096",
        claim="A projector output of 4096 dimensions is better than one of 2048.",
        report_says="A wider projector output, 4096 instead of 2048, helps.",
        figures=(48, 49),
        statistic="kNN accuracy with the wider projector output minus SimSiam's, paired over test images and seeds",
        variants=(BASELINE, WIDE),
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
        figures=(),
        statistic="kNN accuracy of Barlow Twins at three batch sizes and three dimensions",
        variants=("barlow_twins",),
    ),
    Claim(
        id="heavy-augmentation",
        claim="Heavy augmentation misleads SimSiam; a momentum encoder eases it, and DSSL solves it.",
        report_says="Heavy augmentation misleads SimSiam, a momentum encoder eases this, and DSSL solves it.",
        figures=(),
        statistic="kNN accuracy of SimSiam, BYOL and DSSL with heavy views minus that without",
        variants=(BASELINE, "byol", "dssl"),
    ),
    Claim(
        id="vicreg-terms",
        claim="VICReg's variance term prevents collapse and its covariance term decorrelates.",
        report_says="The variance term prevents collapse, and the covariance term decorrelates the dimensions.",
        figures=(),
        statistic="embedding std, effective rank and kNN accuracy of VICReg without each term",
        variants=("vicreg",),
    ),
    Claim(
        id="byol-vs-simsiam",
        claim="BYOL learns from a momentum teacher, and SimSiam does without one.",
        report_says="BYOL has a momentum teacher, and SimSiam has none.",
        figures=(),
        statistic="kNN accuracy of BYOL minus SimSiam's",
        variants=(BASELINE, "byol"),
    ),
    Claim(
        id="asymmetry",
        claim="Asymmetric views of source and target help.",
        report_says="Asymmetric augmentation of source and target is better than the same for both.",
        figures=(),
        statistic="kNN accuracy of AsymSiam minus that of the symmetric baseline",
        variants=(BASELINE, "asymsiam"),
    ),
)

CLAIMS = (*ABLATIONS, *RIVALS)
