"""The report's claims on SimSiam and its ablations; those on its rivals come from `rivals`."""

from triptych.measures.estimate import Estimate
from triptych.report.evidence import Evidence
from triptych.report.formatting import PERCENT, PLAIN, POINTS, written, written_limit
from triptych.report.params import ClaimsParams
from triptych.report.record import Claim
from triptych.report.ruling import Ruling, every, finding
from triptych.ssl.words.compared import (
    Difference,
    Question,
    Variant,
    collapsed,
    common_seeds,
    embeddings,
    is_below,
    knn_difference,
    numbers_of,
    seeds_as_evidence,
    seeds_in_words,
    seeds_needed,
    told,
    trained,
)
from triptych.ssl.words.rivals import RIVALS
from triptych.ssl.words.variants import BASELINE, NO_PREDICTOR, NO_STOP_GRADIENT, REPORT_DIMS, WIDE

OF_ABLATION = "the ablation's"
# What is told of it beside a verdict that accuracy alone decides.
COLLAPSE = {
    True: "Its embeddings collapsed.",
    False: "Its embeddings did not collapse.",
    None: "Its embeddings collapsed with some seeds only.",
}


def stop_gradient(evidence: Evidence, limits: ClaimsParams) -> Ruling:
    """Accuracy falls, embeddings collapse by their own measure, and the loss of every seed is near its floor."""
    given, ablation = limits.ssl, trained(evidence, NO_STOP_GRADIENT)
    fall, losses = knn_difference(evidence, NO_STOP_GRADIENT, BASELINE), ablation.each_seed("final_loss")
    loss = Estimate(ablation.metrics.number("final_loss"), min(losses), max(losses))
    asked = [
        is_below(f"Accuracy falls by more than {written_limit(given.knn_drop, POINTS)}", fall, -given.knn_drop),
        collapsed(ablation, "Embeddings collapsed"),
        Question(f"Loss at its floor of −1, below {written_limit(given.loss_floor)}", loss.below(given.loss_floor)),
    ]
    holds = every(*(question.answer for question in asked))
    seen = f"{_fall(evidence, NO_STOP_GRADIENT, 'without stop-gradient', fall)} {embeddings(ablation, OF_ABLATION)}"
    return Ruling(
        holds,
        fall.estimate,
        -given.knn_drop,
        told(
            f"{seen} The final loss is {written(loss.value, PLAIN)}, SimSiam's "
            f"{written(trained(evidence, BASELINE).metrics.number('final_loss'), PLAIN)}.",
            asked,
            holds,
        ),
        _numbers(evidence, NO_STOP_GRADIENT)
        | {"loss_threshold": given.loss_floor, "lowest_final_loss": loss.low, "highest_final_loss": loss.high}
        | seeds_as_evidence(holds, seeds_needed(asked)),
    )


def predictor(evidence: Evidence, limits: ClaimsParams) -> Ruling:
    """Significantly worse: accuracy alone decides. Whether embeddings collapse is told besides."""
    fall, drop = knn_difference(evidence, NO_PREDICTOR, BASELINE), limits.ssl.knn_drop
    ablation = trained(evidence, NO_PREDICTOR)
    worse = is_below(f"Worse by more than {written_limit(drop, POINTS)}", fall, -drop)
    besides = COLLAPSE[collapsed(ablation, "Embeddings collapsed").answer]
    return Ruling(
        worse.answer,
        fall.estimate,
        -drop,
        finding(
            f"{_fall(evidence, NO_PREDICTOR, 'without the predictor', fall)} "
            f"{embeddings(ablation, OF_ABLATION)} {besides}",
            {worse.words: worse.answer},
            worse.answer,
            seeds_in_words(worse.needed),
        ),
        _numbers(evidence, NO_PREDICTOR) | seeds_as_evidence(worse.answer, worse.needed),
    )


def wider_projector(evidence: Evidence, limits: ClaimsParams) -> Ruling:
    """Helps: the difference is above zero. Not so if it is below, or too small either way to speak of."""
    gain, margin = knn_difference(evidence, WIDE, BASELINE), limits.ssl.no_difference
    better, negligible = gain.estimate.above(0.0), gain.estimate.within(margin)
    holds = True if better else False if better is False or negligible else None
    needed = _seeds_for_either(gain, margin) if holds is None else None
    wide, narrow = trained(evidence, WIDE), trained(evidence, BASELINE)
    return Ruling(
        holds,
        gain.estimate,
        0.0,
        finding(
            f"With a projector output of {_dim(wide, REPORT_DIMS[WIDE])} kNN accuracy is {wide.accuracy}, and with "
            f"{_dim(narrow, REPORT_DIMS[BASELINE])} {narrow.accuracy}: {gain}.{common_seeds([wide, narrow])}",
            {"Better": better, f"Within {written_limit(margin, POINTS)} of no difference": negligible},
            holds,
            seeds_in_words(needed),
        ),
        _numbers(evidence, WIDE)
        | {
            "no_difference": margin,
            f"{WIDE}_projector_dim": wide.dim,
            f"{BASELINE}_projector_dim": narrow.dim,
        }
        | seeds_as_evidence(holds, needed),
    )


def _seeds_for_either(gain: Difference, margin: float) -> int | None:
    """With how many seeds a difference would be told from none, or be known to lie within the margin."""
    ways = [gain.seeds_to_exclude(0.0)]
    if abs(gain.estimate.value) < margin:
        ways.append(gain.seeds_to_exclude(-margin, margin))
    return min((way for way in ways if way is not None), default=None)


def _numbers(evidence: Evidence, variant: str) -> dict[str, float]:
    """What an ablation is compared by, under names that say whose it is."""
    keys = ("knn_accuracy", "final_loss", "embedding_std", "effective_rank", "collapsed")
    ablation = trained(evidence, variant)
    return {
        **numbers_of(ablation, *keys),
        **numbers_of(trained(evidence, BASELINE), *keys),
        "random_init_knn_accuracy": ablation.metrics.number("random_init_knn_accuracy"),
    }


def _fall(evidence: Evidence, variant: str, name: str, difference: Difference) -> str:
    ablation, baseline = trained(evidence, variant), trained(evidence, BASELINE)
    return (
        f"SimSiam's kNN accuracy is {baseline.accuracy} and {name} {ablation.accuracy}, {difference}; an untrained "
        f"encoder has {written(ablation.metrics.number('random_init_knn_accuracy'), PERCENT)}."
        f"{common_seeds([ablation, baseline])}"
    )


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

CLAIMS = (*ABLATIONS, *RIVALS)
