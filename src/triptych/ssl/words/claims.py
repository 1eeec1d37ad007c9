"""Claims of the report on SimSiam, its ablations and its rivals."""

from triptych.report.claims import Claim, Condition, Evidence, Fact, Least, threshold_of
from triptych.report.formatting import PLAIN, POINTS
from triptych.ssl.words.baselines import BASELINES, PIXELS, RAW_PIXELS, UNTRAINED
from triptych.ssl.words.compared import KNN, Accuracies, EachSeed, above_baseline, facts_of, knn_difference, number_of
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
    NO_PREDICTOR,
    NO_STOP_GRADIENT,
    NO_VARIANCE,
    REVERSE,
    SYMMETRIC,
    VICREG,
    WIDE,
    metrics_path,
    title,
    variants,
)

PAIRED = "paired over test images and over the seeds that both have"
DESCRIBED = {UNTRAINED: "an untrained encoder", PIXELS: "pixels", RAW_PIXELS: "raw pixels"}
SMALL, LARGE = BATCH_SIZES[0], BATCH_SIZES[-1]
NARROWEST, WIDEST = DIMS[0], DIMS[-1]
DROP, MARGIN = "ssl.knn_drop", "ssl.no_difference"


def _collapses(name: str, statement: str) -> Condition:
    return Condition(f"{name}-collapses", statement, EachSeed(name, "collapsed"), "above", 0.5, ".0%")


def _stable(name: str) -> Condition:
    statement = f"{title(name)} collapses with no seed"
    return Condition(f"{name}-stable", statement, EachSeed(name, "collapsed"), "below", 0.5, ".0%")


def _learns(name: str) -> tuple[Condition, ...]:
    """Return a condition per baseline: the variant is clearly above it."""
    return tuple(
        Condition(
            f"{name}-above-{baseline.key}",
            f"{title(name)} has a kNN accuracy more than {{size}} above that of {DESCRIBED[baseline]}",
            above_baseline(name, baseline),
            "above",
            DROP,
            POINTS,
        )
        for baseline in BASELINES
    )


def _least_margin(*names: str) -> Least:
    return Least(tuple(above_baseline(name, baseline) for name in names for baseline in BASELINES))


def _ablation_facts(name: str) -> tuple[Fact, ...]:
    keys = ("knn_accuracy", "final_loss", "embedding_std", "effective_rank", "collapsed")
    untrained = number_of(name, "random_init_knn_accuracy")
    return (*facts_of(name, *keys), *facts_of(BASELINE, *keys), untrained)


def _rival_facts(*names: str) -> tuple[Fact, ...]:
    return tuple(fact for name in names for fact in facts_of(name, "knn_accuracy", "collapsed"))


def _dim(name: str) -> Fact:
    def measure(evidence: Evidence) -> int:
        return variants(evidence.results.params)[name].dim

    return Fact(f"{name}_projector_dim", measure, ".0f", f"{title(name)}: projector output")


def _at_equal(what: str) -> Fact:
    def measure(evidence: Evidence) -> object:
        return at_equal(evidence.results, evidence.resampling.level, BYOL, BASELINE, what)

    return Fact(f"at_equal_{what}_knn_accuracy", measure, POINTS, f"BYOL minus SimSiam at equal {what}, kNN accuracy")


LOSS = EachSeed(NO_STOP_GRADIENT, "final_loss")
# How much less BYOL loses by heavy views than SimSiam.
EASED = Accuracies(
    "eased by BYOL", ((1, HEAVY[BYOL], KNN), (-1, BYOL, KNN), (-1, HEAVY[BASELINE], KNN), (1, BASELINE, KNN))
)
SOLVED, KEPT = (knn_difference(DSSL, other) for other in (HEAVY[BASELINE], BASELINE))
EXCHANGED = knn_difference(REVERSE, SYMMETRIC)

CLAIMS = (
    Claim(
        id="stop-gradient",
        claim="Without stop-gradient accuracy collapses and the loss reaches its floor.",
        report_says="Without stop-gradient kNN accuracy collapses, and the training loss reaches its floor, which the "
        "report gives as 1 (it is −1).",
        figures=("simsiam_stop_gradient_*",),
        statistic=f"kNN accuracy without stop-gradient minus SimSiam's, {PAIRED}; collapse by embedding std and "
        "effective rank; and the final loss",
        conditions=(
            Condition(
                "accuracy-falls",
                "Without stop-gradient, kNN accuracy falls by more than {size}",
                knn_difference(NO_STOP_GRADIENT, BASELINE),
                "below",
                f"-{DROP}",
                POINTS,
            ),
            _collapses(NO_STOP_GRADIENT, "Without stop-gradient, embeddings collapse with every seed"),
            Condition(
                "loss-floor",
                "Without stop-gradient, the final loss of every seed is below {threshold}, near its floor of −1",
                LOSS,
                "below",
                "ssl.loss_floor",
                PLAIN,
            ),
        ),
        sources=(metrics_path(BASELINE), metrics_path(NO_STOP_GRADIENT)),
        facts=(
            *_ablation_facts(NO_STOP_GRADIENT),
            threshold_of("loss_threshold", "ssl.loss_floor", PLAIN),
            Fact("lowest_final_loss", lambda evidence: LOSS(evidence).low, PLAIN),
            Fact("highest_final_loss", lambda evidence: LOSS(evidence).high, PLAIN),
        ),
    ),
    Claim(
        id="predictor",
        claim="Without the predictor SimSiam is significantly worse.",
        report_says="With the predictor MLP replaced by the identity, kNN accuracy is significantly worse.",
        figures=("simsiam_predictor_*",),
        statistic=f"kNN accuracy without the predictor minus SimSiam's, {PAIRED}",
        conditions=(
            Condition(
                "accuracy-falls",
                "Without the predictor, kNN accuracy falls by more than {size}",
                knn_difference(NO_PREDICTOR, BASELINE),
                "below",
                f"-{DROP}",
                POINTS,
            ),
        ),
        sources=(metrics_path(BASELINE), metrics_path(NO_PREDICTOR)),
        facts=_ablation_facts(NO_PREDICTOR),
    ),
    Claim(
        id="dim-4096",
        claim="A projector output of 4096 dimensions is better than one of 2048.",
        report_says="A wider projector output, 4096 instead of 2048, helps.",
        figures=("simsiam_projector_*",),
        statistic=f"kNN accuracy with the wider projector output minus SimSiam's, {PAIRED}",
        conditions=(
            Condition(
                "wider-is-better",
                "The wider projector output raises kNN accuracy",
                knn_difference(WIDE, BASELINE),
                "above",
                0.0,
                POINTS,
                no_difference=MARGIN,
            ),
        ),
        sources=(metrics_path(BASELINE), metrics_path(WIDE)),
        facts=(*_ablation_facts(WIDE), threshold_of("no_difference", MARGIN, POINTS), _dim(WIDE), _dim(BASELINE)),
    ),
    Claim(
        id="barlow-no-tricks",
        kind="argument",
        claim="Barlow Twins needs no predictor, stop-gradient, momentum encoder or large batch, and gains from a high "
        "dimension.",
        report_says="Barlow Twins does without the tricks of the others, at any batch size, and is better the wider "
        "its output.",
        figures=("simsiam_barlow_twins",),
        statistic=f"kNN accuracy of Barlow Twins with its widest output minus that with its narrowest, {PAIRED}; its "
        "accuracy minus that of pixels and of the untrained encoder; collapse; and the accuracy of its smallest batch "
        "minus that of larger ones",
        conditions=(
            Condition(
                "wider-is-better",
                "Barlow Twins has a higher kNN accuracy with its widest output than with its narrowest",
                knn_difference(WIDEST, NARROWEST),
                "above",
                0.0,
                POINTS,
            ),
            *_learns(BARLOW),
            _stable(BARLOW),
            *(
                Condition(
                    f"small-batch-keeps-up-with-{size}",
                    f"Barlow Twins' smallest batch loses less than {{size}} to its {size} one",
                    knn_difference(SMALL, other),
                    "above",
                    f"-{DROP}",
                    POINTS,
                )
                for other, size in ((BARLOW, "middle"), (LARGE, "largest"))
            ),
        ),
        sources=tuple(map(metrics_path, dict.fromkeys((*BATCH_SIZES, *DIMS)))),
        facts=(
            *_rival_facts(BARLOW, SMALL, LARGE, NARROWEST, WIDEST),
            Fact(
                "above_best_baseline_knn_accuracy",
                _least_margin(BARLOW),
                POINTS,
                "Barlow Twins minus the best baseline, kNN accuracy",
            ),
            *(
                Fact(
                    f"smallest_batch_minus_{other}_knn_accuracy",
                    knn_difference(SMALL, other),
                    POINTS,
                    f"{title(SMALL)} minus {title(other)}, kNN accuracy",
                )
                for other in (BARLOW, LARGE)
            ),
        ),
    ),
    Claim(
        id="heavy-augmentation",
        kind="argument",
        claim="Heavy augmentation misleads SimSiam; a momentum encoder eases it, and DSSL solves it.",
        report_says="Heavy augmentation misleads SimSiam, a momentum encoder eases this, and DSSL solves it.",
        figures=("simsiam_heavy_views",),
        statistic=f"kNN accuracy of SimSiam with heavy views minus that without, {PAIRED}; how much less BYOL loses by "
        "them; and the accuracy of DSSL minus SimSiam's with and without them",
        conditions=(
            Condition(
                "simsiam-is-misled",
                "SimSiam loses more than {size} of kNN accuracy by heavy views",
                knn_difference(HEAVY[BASELINE], BASELINE),
                "below",
                f"-{MARGIN}",
                POINTS,
            ),
            Condition("byol-loses-less", "BYOL loses less by heavy views than SimSiam", EASED, "above", 0.0, POINTS),
            Condition(
                "dssl-is-better",
                "With heavy views, DSSL has a higher kNN accuracy than SimSiam",
                SOLVED,
                "above",
                0.0,
                POINTS,
            ),
            Condition(
                "dssl-keeps-up",
                "DSSL with heavy views loses less than {size} to SimSiam without them",
                KEPT,
                "above",
                f"-{MARGIN}",
                POINTS,
            ),
        ),
        sources=tuple(map(metrics_path, (BASELINE, HEAVY[BASELINE], BYOL, HEAVY[BYOL], DSSL))),
        facts=(
            *_rival_facts(BASELINE, HEAVY[BASELINE], BYOL, HEAVY[BYOL], DSSL),
            Fact("eased_by_byol_knn_accuracy", EASED, POINTS, "loss by heavy views, SimSiam's minus BYOL's"),
            Fact("dssl_minus_simsiam_heavy_knn_accuracy", SOLVED, POINTS, "DSSL minus SimSiam with heavy views"),
            Fact("dssl_minus_simsiam_knn_accuracy", KEPT, POINTS, "DSSL minus SimSiam"),
        ),
    ),
    Claim(
        id="vicreg-terms",
        kind="argument",
        claim="VICReg's variance term prevents collapse and its covariance term decorrelates.",
        report_says="The variance term prevents collapse, and the covariance term decorrelates the dimensions.",
        figures=("simsiam_vicreg_terms",),
        statistic="effective rank of VICReg without the covariance term minus that with it, and its range over seeds; "
        "and collapse without the variance term, by embedding std and effective rank",
        conditions=(
            Condition(
                "covariance-decorrelates",
                "Without the covariance term, the effective rank falls with every seed",
                EachSeed(NO_COVARIANCE, "effective_rank", minus=VICREG),
                "below",
                0.0,
                PLAIN,
            ),
            _stable(VICREG),
            _collapses(NO_VARIANCE, "Without the variance term, embeddings collapse with every seed"),
        ),
        sources=tuple(map(metrics_path, (VICREG, NO_VARIANCE, NO_COVARIANCE))),
        facts=(
            *_rival_facts(VICREG, NO_VARIANCE, NO_COVARIANCE),
            *(
                fact
                for name in (VICREG, NO_VARIANCE, NO_COVARIANCE)
                for fact in facts_of(name, "embedding_std", "effective_rank", seeds=False)
            ),
        ),
    ),
    Claim(
        id="byol-vs-simsiam",
        kind="argument",
        claim="BYOL learns from a momentum teacher, and SimSiam does without one.",
        report_says="BYOL has a momentum teacher, and SimSiam has none.",
        figures=("simsiam_byol",),
        statistic=f"lowest margin of BYOL or SimSiam above a baseline, pixels or the untrained encoder, {PAIRED}; and "
        "collapse",
        conditions=(*_learns(BYOL), *_learns(BASELINE), _stable(BYOL), _stable(BASELINE)),
        headline=_least_margin(BYOL, BASELINE),
        sources=(
            *(
                f"plots/ssl/{name}_{table}.csv"
                for name in (BASELINE, BYOL)
                for table in ("course", "training", "timing")
            ),
            *map(metrics_path, (BASELINE, BYOL)),
        ),
        facts=(*_rival_facts(BYOL, BASELINE), _at_equal("images"), _at_equal("seconds")),
    ),
    Claim(
        id="asymmetry",
        kind="argument",
        claim="Asymmetric views of source and target help.",
        report_says="Asymmetric augmentation of source and target is better than the same for both.",
        figures=("simsiam_asymmetry",),
        statistic=f"kNN accuracy of AsymSiam minus that of the symmetric baseline, {PAIRED}; and the same difference "
        "with the views of source and target exchanged",
        conditions=(
            Condition(
                "asymmetric-is-better",
                "Stronger views for the source and weaker ones for the target raise kNN accuracy",
                knn_difference(ASYMSIAM, SYMMETRIC),
                "above",
                0.0,
                POINTS,
            ),
            Condition(
                "exchange-gains-nothing",
                "With source and target exchanged, the gain is less than {size}",
                EXCHANGED,
                "below",
                MARGIN,
                POINTS,
            ),
        ),
        sources=tuple(map(metrics_path, (ASYMSIAM, REVERSE, SYMMETRIC))),
        facts=(
            *_rival_facts(ASYMSIAM, SYMMETRIC, REVERSE),
            Fact("exchanged_minus_symmetric_knn_accuracy", EXCHANGED, POINTS, f"{title(REVERSE)} minus symmetric"),
            threshold_of("no_difference", MARGIN, POINTS),
        ),
    ),
)
