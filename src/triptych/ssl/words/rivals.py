"""The report's claims on the rivals of SimSiam: Barlow Twins, heavy augmentation, VICReg, BYOL and AsymSiam."""

from collections.abc import Callable, Mapping, Sequence

from triptych.measures.estimate import Estimate
from triptych.report.evidence import Evidence
from triptych.report.formatting import PLAIN, POINTS, written, written_limit
from triptych.report.params import ClaimsParams
from triptych.report.record import Claim
from triptych.report.ruling import Ruling, every
from triptych.ssl.words.compared import (
    KNN,
    Question,
    Variant,
    all_above,
    collapsed,
    common_seeds,
    difference,
    embeddings,
    is_above,
    is_below,
    knn_difference,
    learnt,
    numbers_of,
    of_every_seed,
    seeds_as_evidence,
    seeds_needed,
    told,
    trained,
)
from triptych.ssl.words.equal_terms import at_equal
from triptych.ssl.words.variants import (
    ASYMSIAM,
    BARLOW,
    BASELINE,
    BATCH_SIZES,
    BYOL,
    DIMS,
    DSSL,
    HEAVY,
    NO_COVARIANCE,
    NO_VARIANCE,
    REVERSE,
    SYMMETRIC,
    VICREG,
)


def barlow_twins(evidence: Evidence, limits: ClaimsParams) -> Ruling:
    """It learns without the tricks of others, the smallest batch is not clearly worse, and the widest output gains."""
    given, plain = limits.ssl, trained(evidence, BARLOW)
    works, above, reached = learnt(evidence, plain, given.knn_drop)
    narrow, *_, wide = _in_order(evidence, DIMS, lambda variant: variant.dim)
    small, *larger = _in_order(evidence, BATCH_SIZES, lambda variant: variant.batch_size)
    gain = knn_difference(evidence, wide.name, narrow.name)
    lost = [(other, knn_difference(evidence, small.name, other.name)) for other in larger]
    asked = [
        works,
        _well(plain),
        all_above(
            f"Batches of {small.batch_size} less than {written_limit(given.knn_drop, POINTS)} worse than larger ones",
            [found for _, found in lost],
            -given.knn_drop,
        ),
        is_above(f"An output of {wide.dim} dimensions better than one of {narrow.dim}", gain, 0.0),
    ]
    by_batch = ", ".join(f"{found} against batches of {other.batch_size}" for other, found in lost)
    return _ruling(
        gain.estimate,
        0.0,
        f"With an output of {wide.dim} dimensions kNN accuracy is {wide.accuracy}, and with {narrow.dim} "
        f"{narrow.accuracy}: {gain}. {reached} With batches of {small.batch_size} it is {small.accuracy}: {by_batch}.",
        asked,
        (plain, small, *larger, narrow, wide),
        {
            **above.estimate.flat("above_best_baseline_knn_accuracy"),
            **{
                key: value
                for other, found in lost
                for key, value in found.estimate.flat(f"smallest_batch_minus_{other.name}_knn_accuracy").items()
            },
        },
    )


def heavy_augmentation(evidence: Evidence, limits: ClaimsParams) -> Ruling:
    """SimSiam is worse with heavy views, BYOL loses less by them, and DSSL gains by them what SimSiam loses."""
    margin = limits.ssl.no_difference
    plain, heavy, byol, byol_heavy, dssl = (
        trained(evidence, name) for name in (BASELINE, HEAVY[BASELINE], BYOL, HEAVY[BYOL], DSSL)
    )
    misled = knn_difference(evidence, heavy.name, plain.name)
    of_byol = knn_difference(evidence, byol_heavy.name, byol.name)
    eased = difference(
        evidence,
        "eased by BYOL",
        *((1, byol_heavy, KNN), (-1, byol, KNN), (-1, heavy, KNN), (1, plain, KNN)),
    )
    solved, kept = (knn_difference(evidence, dssl.name, other.name) for other in (heavy, plain))
    limit = written_limit(margin, POINTS)
    asked = [
        is_below(f"Heavy views mislead SimSiam, by more than {limit}", misled, -margin),
        is_above("BYOL loses less by them", eased, 0.0),
        is_above("DSSL better with them than SimSiam", solved, 0.0),
        is_above(f"DSSL less than {limit} worse than SimSiam without them", kept, -margin),
    ]
    return _ruling(
        misled.estimate,
        -margin,
        f"SimSiam's kNN accuracy is {plain.accuracy} and with heavy views {heavy.accuracy}, {misled}. BYOL's is "
        f"{byol.accuracy} and {byol_heavy.accuracy}, {of_byol}; BYOL's difference minus SimSiam's is {eased}. DSSL's "
        f"is {dssl.accuracy}, {solved} on SimSiam with heavy views and {kept} on SimSiam without.",
        asked,
        (plain, heavy, byol, byol_heavy, dssl),
        {
            **eased.estimate.flat("eased_by_byol_knn_accuracy"),
            **solved.estimate.flat("dssl_minus_simsiam_heavy_knn_accuracy"),
            **kept.estimate.flat("dssl_minus_simsiam_knn_accuracy"),
        },
    )


def vicreg_terms(evidence: Evidence, limits: ClaimsParams) -> Ruling:
    """Without the variance term every seed collapses; without the covariance term each uses fewer directions."""
    whole, no_variance, no_covariance = (trained(evidence, name) for name in (VICREG, NO_VARIANCE, NO_COVARIANCE))
    pairs = zip(no_covariance.each_seed("effective_rank"), whole.each_seed("effective_rank"), strict=False)
    falls = [without - with_it for without, with_it in pairs]
    fall = sum(falls) / len(falls)
    asked = [
        _well(whole),
        collapsed(no_variance, "Collapsed without the variance term"),
        of_every_seed(
            "Fewer directions in use without the covariance term, in every seed", [fallen < 0 for fallen in falls]
        ),
    ]
    return _ruling(
        fall,
        0.0,
        f"Without the covariance term the effective rank differs by {written(fall, PLAIN)} from VICReg's, the mean of "
        f"{len(falls)} seeds between {written(min(falls), PLAIN)} and {written(max(falls), PLAIN)}. "
        f"{_state(whole, 'VICReg')} {_state(no_variance, 'Without variance')} "
        f"{_state(no_covariance, 'Without covariance')}",
        asked,
        (whole, no_variance, no_covariance),
        {
            f"{variant.name}_{key}": variant.metrics.number(key)
            for variant in (whole, no_variance, no_covariance)
            for key in ("embedding_std", "effective_rank")
        },
    )


def byol_and_simsiam(evidence: Evidence, limits: ClaimsParams) -> Ruling:
    """Both learn and neither collapses. Which is better, at equal images and at equal seconds, is told besides."""
    byol, simsiam = trained(evidence, BYOL), trained(evidence, BASELINE)
    (byol_learnt, above, of_byol), (simsiam_learnt, other, of_simsiam) = (
        learnt(evidence, variant, limits.ssl.knn_drop) for variant in (byol, simsiam)
    )
    least = min(above, other, key=lambda found: found.estimate.value)
    by_images, by_seconds = (
        at_equal(evidence.results, evidence.resampling.level, byol.name, simsiam.name, what)
        for what in ("images", "seconds")
    )
    return _ruling(
        least.estimate,
        limits.ssl.knn_drop,
        f"{of_byol} {of_simsiam} BYOL minus SimSiam, over seeds: {written(by_images, POINTS)} at equal images and "
        f"{written(by_seconds, POINTS)} at equal seconds of training.",
        [byol_learnt, simsiam_learnt, _well(byol), _well(simsiam)],
        (byol, simsiam),
        {
            **by_images.flat("at_equal_images_knn_accuracy"),
            **by_seconds.flat("at_equal_seconds_knn_accuracy"),
        },
    )


def asymmetry(evidence: Evidence, limits: ClaimsParams) -> Ruling:
    """The stronger views for the source gain, and exchanged they do not."""
    given = limits.ssl
    asymmetric, reverse, symmetric = (trained(evidence, name) for name in (ASYMSIAM, REVERSE, SYMMETRIC))
    gain, exchanged = (knn_difference(evidence, one.name, symmetric.name) for one in (asymmetric, reverse))
    asked = [
        is_above("Better with stronger views for the source and weaker for the target", gain, 0.0),
        is_below(
            f"No more than {written_limit(given.no_difference, POINTS)} gained by the exchange",
            exchanged,
            given.no_difference,
        ),
    ]
    return _ruling(
        gain.estimate,
        0.0,
        f"With stronger views for the source and weaker ones for the target kNN accuracy is {asymmetric.accuracy}, "
        f"with the same for both {symmetric.accuracy}: {gain}. Exchanged it is {reverse.accuracy}: {exchanged}.",
        asked,
        (asymmetric, symmetric, reverse),
        {
            **exchanged.estimate.flat("exchanged_minus_symmetric_knn_accuracy"),
            "no_difference": given.no_difference,
        },
    )


def _ruling(
    measured: Estimate | float,
    threshold: float,
    seen: str,
    asked: Sequence[Question],
    compared: Sequence[Variant],
    numbers: Mapping[str, float],
) -> Ruling:
    """Every question must be answered by yes."""
    holds = every(*(question.answer for question in asked))
    of_each = [numbers_of(variant, "knn_accuracy", "collapsed") for variant in compared]
    return Ruling(
        holds,
        measured,
        threshold,
        told(f"{seen}{common_seeds(compared)}", asked, holds),
        {key: number for own in of_each for key, number in own.items()}
        | dict(numbers)
        | seeds_as_evidence(holds, seeds_needed(asked)),
    )


def _in_order(evidence: Evidence, names: tuple[str, ...], setting: Callable[[Variant], int]) -> list[Variant]:
    return sorted((trained(evidence, name) for name in names), key=setting)


def _well(variant: Variant) -> Question:
    return of_every_seed(
        f"No collapse of {variant.title}", [not collapsed for collapsed in variant.each_seed("collapsed")]
    )


def _state(variant: Variant, name: str) -> str:
    return f"{name}: kNN accuracy {variant.accuracy}. {embeddings(variant)}"


RIVALS = (
    Claim(
        id="barlow-no-tricks",
        claim="Barlow Twins needs no predictor, stop-gradient, momentum encoder or large batch, and gains from a high "
        "dimension.",
        report_says="Barlow Twins does without the tricks of the others, at any batch size, and is better the wider "
        "its output.",
        figures=("simsiam_barlow_twins",),
        statistic="kNN accuracy of Barlow Twins with its widest output minus that with its narrowest, paired over test "
        "images and seeds; its accuracy minus that of pixels and of the untrained encoder; whether it collapsed; and "
        "that of its smallest batch minus those of larger ones",
        variants=tuple(dict.fromkeys((*BATCH_SIZES, *DIMS))),
        format=POINTS,
        decide=barlow_twins,
    ),
    Claim(
        id="heavy-augmentation",
        claim="Heavy augmentation misleads SimSiam; a momentum encoder eases it, and DSSL solves it.",
        report_says="Heavy augmentation misleads SimSiam, a momentum encoder eases this, and DSSL solves it.",
        figures=("simsiam_heavy_views",),
        statistic="kNN accuracy of SimSiam with heavy views minus that without, paired over test images and seeds; how "
        "much less BYOL loses by them; and that of DSSL minus SimSiam's with and without them",
        variants=(BASELINE, HEAVY[BASELINE], BYOL, HEAVY[BYOL], DSSL),
        format=POINTS,
        decide=heavy_augmentation,
    ),
    Claim(
        id="vicreg-terms",
        claim="VICReg's variance term prevents collapse and its covariance term decorrelates.",
        report_says="The variance term prevents collapse, and the covariance term decorrelates the dimensions.",
        figures=("simsiam_vicreg_terms",),
        statistic="effective rank of VICReg without the covariance term minus that with it, and its range over seeds; "
        "and whether embeddings collapsed without the variance term, by std and effective rank",
        variants=(VICREG, NO_VARIANCE, NO_COVARIANCE),
        format=PLAIN,
        decide=vicreg_terms,
    ),
    Claim(
        id="byol-vs-simsiam",
        claim="BYOL learns from a momentum teacher, and SimSiam does without one.",
        report_says="BYOL has a momentum teacher, and SimSiam has none.",
        figures=("simsiam_byol",),
        statistic="kNN accuracy of BYOL or SimSiam, whichever has less to spare, minus that of pixels or the "
        "untrained encoder, whichever is best, paired over test images and seeds; and whether either collapsed",
        sources=tuple(
            f"plots/ssl/{name}_{table}.csv" for name in (BASELINE, BYOL) for table in ("course", "training", "timing")
        ),
        variants=(BASELINE, BYOL),
        format=POINTS,
        decide=byol_and_simsiam,
    ),
    Claim(
        id="asymmetry",
        claim="Asymmetric views of source and target help.",
        report_says="Asymmetric augmentation of source and target is better than the same for both.",
        figures=("simsiam_asymmetry",),
        statistic="kNN accuracy of AsymSiam minus that of the symmetric baseline, paired over test images and seeds; "
        "and that with the views of source and target exchanged minus the baseline's",
        variants=(ASYMSIAM, REVERSE, SYMMETRIC),
        format=POINTS,
        decide=asymmetry,
    ),
)
