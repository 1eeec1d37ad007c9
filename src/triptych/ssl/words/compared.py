"""What decides claims on encoders: differences on the same images and seeds, and the questions that they answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from triptych.core.errors import InputError
from triptych.measures.estimate import Estimate
from triptych.report.evidence import Evidence
from triptych.report.formatting import PERCENT, PLAIN, POINTS, written, written_limit
from triptych.report.reader import Metrics, UnmeasuredError
from triptych.report.ruling import Condition, every, finding, unanimous
from triptych.ssl.words.baselines import BASELINES, Baseline
from triptych.ssl.words.variants import results_path, title, variants

KNN = "knn"
SINGLE = 1  # in place of the seeds that would decide: one seed has no spread that tells how many


@dataclass(frozen=True)
class Variant:
    """One entry of ssl.variants after training.

    Attributes:
        name: its key there.
        recipe: its settings.
        metrics: what was measured.
        hits: by name, (seeds, test images) what was classified correctly; see `correct`.
    """

    name: str
    recipe: Mapping
    metrics: Metrics
    hits: Mapping[str, np.ndarray]

    @property
    def title(self) -> str:
        """What it is called."""
        return title(self.name)

    @property
    def dim(self) -> int:
        """Size of the projector's output."""
        return self.recipe["projector_dim"]

    @property
    def batch_size(self) -> int:
        """Images of a step."""
        return self.recipe["training"]["batch_size"]

    @property
    def accuracy(self) -> str:
        """kNN accuracy over all its seeds: `61.2 %`."""
        return written(self.metrics.number("knn_accuracy"), PERCENT)

    def correct(self, who: str = KNN) -> np.ndarray:
        """(seeds, test images) whether each was classified correctly: `knn`, or a baseline's `pixel_knn`.

        Raises:
            UnmeasuredError: there are no labels to be right about, or this was not measured.
        """
        key = f"{who}_correct"
        if key not in self.hits:
            self.metrics.number("knn_accuracy")  # all accuracies need the same of the images: this one tells what
            raise UnmeasuredError(f"{results_path(self.name)} holds no {key}")
        return self.hits[key]

    def each_seed(self, key: str) -> list[float]:
        """A number of each seed, the first seed first.

        Raises:
            UnmeasuredError: the file does not hold it.
        """
        rows = self.metrics.rows("seeds")
        if key in self.metrics.left_out:
            raise self.metrics.missing(key)
        values = [row.number(key) for row in rows]
        if not values:
            raise UnmeasuredError(f"{self.metrics.path} holds no {key} of each seed")
        return values


def trained(evidence: Evidence, name: str) -> Variant:
    """A variant with what its files hold.

    Raises:
        InputError: a file is missing or damaged.
    """
    return Variant(
        name,
        variants(evidence.results.params)[name].recipe,
        evidence.results.metrics(f"ssl/{name}"),
        evidence.results.arrays(results_path(name)),
    )


# Differences ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Difference:
    """A difference between accuracies on the same test images and seeds.

    Attributes:
        values: (seeds, images) the difference at each.
        estimate: its mean, uncertain in both.
        level: of the interval.
    """

    values: np.ndarray
    estimate: Estimate
    level: float

    def __str__(self) -> str:
        return written(self.estimate, POINTS)

    @property
    def seeds(self) -> int:
        """How many seeds it is measured with."""
        return len(self.values)

    def seeds_to_exclude(self, *thresholds: float) -> int | None:
        """With how many seeds the interval would likely exclude the thresholds; None if with no number, or SINGLE."""
        if self.seeds < 2:
            return SINGLE
        # Brings scipy, which takes long to import, and the terminal needs the claims' words only.
        from triptych.measures.power import seeds_to_exclude

        needed = [seeds_to_exclude(self.values, threshold, self.level) for threshold in thresholds]
        return None if None in needed else max(needed)


def difference(evidence: Evidence, purpose: str, *terms: tuple[int, Variant, str]) -> Difference:
    """A sum of accuracies with signs, paired over test images and over the seeds that all have, the first ones.

    Args:
        evidence: how the interval is made.
        purpose: names its stream of resamples.
        terms: (sign, variant, whose accuracy: see `Variant.correct`).

    Raises:
        UnmeasuredError: an accuracy was not measured.
        InputError: they were not measured on the same images.
    """
    hits = [(sign, variant.correct(who)) for sign, variant, who in terms]
    first = terms[0][1]
    for (_, variant, _), (_, correct) in zip(terms, hits, strict=True):
        if correct.shape[1] != hits[0][1].shape[1]:
            raise InputError(
                f"{results_path(variant.name)}: its {correct.shape[1]} images are not the {hits[0][1].shape[1]} of "
                f"{results_path(first.name)}; run evaluate_ssl again"
            )
    common = min(len(correct) for _, correct in hits)
    values = sum(sign * correct[:common].astype(np.float64) for sign, correct in hits)
    return Difference(values, evidence.resampling.seeded(values, purpose), evidence.resampling.level)


def knn_difference(evidence: Evidence, one: str, other: str) -> Difference:
    """kNN accuracy of one variant minus that of another; see `difference` for what it raises."""
    terms = (1, trained(evidence, one), KNN), (-1, trained(evidence, other), KNN)
    return difference(evidence, f"{one} {other}", *terms)


def above_baselines(evidence: Evidence, variant: Variant) -> dict[Baseline, Difference]:
    """kNN accuracy of a variant minus that of each baseline; see `difference` for what it raises."""
    return {
        baseline: difference(
            evidence, f"{variant.name} {baseline.key}", (1, variant, KNN), (-1, variant, f"{baseline.key}_{KNN}")
        )
        for baseline in BASELINES
    }


# Questions ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Question:
    """What a claim asks, and how it was answered.

    Attributes:
        words: the question without its mark.
        answer: yes, no, or open.
        needed: where it is open, the seeds that would answer it: None where more seeds would not, or SINGLE.
    """

    words: str
    answer: Condition
    needed: int | None = None


def is_above(words: str, found: Difference, threshold: float) -> Question:
    """Whether a difference is above a threshold."""
    return _asked(words, found.estimate.above(threshold), threshold, [found])


def is_below(words: str, found: Difference, threshold: float) -> Question:
    """Whether a difference is below a threshold."""
    return _asked(words, found.estimate.below(threshold), threshold, [found])


def all_above(words: str, found: Sequence[Difference], threshold: float) -> Question:
    """Whether every difference is above a threshold."""
    answers = [one.estimate.above(threshold) for one in found]
    undecided = [one for one, answer in zip(found, answers, strict=True) if answer is None]
    return _asked(words, every(*answers), threshold, undecided)


def _asked(words: str, answer: Condition, threshold: float, found: Sequence[Difference]) -> Question:
    if answer is not None:
        return Question(words, answer)
    needed = [one.seeds_to_exclude(threshold) for one in found]
    return Question(words, answer, None if None in needed else max(needed))


def of_every_seed(words: str, found: Sequence[bool]) -> Question:
    """Whether something holds for each seed; open where seeds differ."""
    return Question(words, unanimous(*found))


def collapsed(variant: Variant, words: str) -> Question:
    """Whether a variant's embeddings collapsed, by std and rank and not by accuracy."""
    return of_every_seed(words, [bool(one) for one in variant.each_seed("collapsed")])


def learnt(evidence: Evidence, variant: Variant, margin: float) -> tuple[Question, Difference, str]:
    """Whether a variant is clearly above every baseline; the difference to the best of them; and both in words."""
    margins = above_baselines(evidence, variant)
    best = min(margins, key=lambda baseline: margins[baseline].estimate.value)
    asked = all_above(
        f"{variant.title} more than {written_limit(margin, POINTS)} above pixels and the untrained encoder",
        [*margins.values()],
        margin,
    )
    reached = (
        f"{variant.title} reaches {written(float(variant.correct().mean()), PERCENT)} by kNN, {margins[best]} over the "
        f"best that has learned nothing, {best.name} with "
        f"{written(float(variant.correct(f'{best.key}_{KNN}').mean()), PERCENT)}."
    )
    return asked, margins[best], reached


# Words ----------------------------------------------------------------------------------------------------------------


def told(seen: str, asked: Sequence[Question], holds: Condition) -> str:
    """What was seen, the answers, and what would decide an open claim."""
    answers = {question.words: question.answer for question in asked}
    return finding(seen, answers, holds, seeds_in_words(seeds_needed(asked)))


def seeds_needed(asked: Sequence[Question]) -> int | None:
    """With how many seeds every open question would be answered; None where with no number."""
    needed = [question.needed for question in asked if question.answer is None]
    return None if None in needed else max(needed, default=None)


def seeds_in_words(needed: int | None) -> str:
    """What would decide a claim that is open."""
    if needed is None:
        return (
            "No number of seeds would decide it: they disagree, or the difference is where it cannot be told from its "
            "threshold on these images."
        )
    if needed == SINGLE:
        return "How many seeds would decide it takes a second one to tell."
    return (
        f"About {needed:,} seeds would decide it, in four of five repetitions, if the difference and its spread over "
        "seeds are as measured here."
    )


def seeds_as_evidence(holds: Condition, needed: int | None) -> dict[str, int]:
    """The number of seeds that would decide an open claim, where there is one."""
    return {"seeds_that_would_decide": needed} if holds is None and needed not in (None, SINGLE) else {}


def common_seeds(compared: Sequence[Variant]) -> str:
    """Which seeds differences are over, where some variants have more; their accuracies are over all their own."""
    counts = {len(variant.metrics.rows("seeds")) for variant in compared}
    return "" if len(counts) == 1 else " Differences are over the seeds that both sides have, the first ones."


def embeddings(variant: Variant, whose: str = "its") -> str:
    """A sentence on the spread of a variant's embeddings."""
    numbers = variant.metrics
    return (
        f"The std of {whose} embeddings is {written(numbers.number('embedding_std'), PLAIN)} of an even spread's, and "
        f"their effective rank {written(numbers.number('effective_rank'), PLAIN)}."
    )


def numbers_of(variant: Variant, *keys: str) -> dict[str, float]:
    """Numbers of a variant, under names that say whose they are, and how many seeds it has."""
    seeds = len(variant.metrics.rows("seeds"))
    return {f"{variant.name}_{key}": variant.metrics.number(key) for key in keys} | {f"{variant.name}_seeds": seeds}
