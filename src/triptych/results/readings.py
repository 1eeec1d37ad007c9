"""What this run saw in each figure: one sentence whose numbers are read from the files that the pipeline wrote.

A sentence is a template. `{vae:recognisability}` stands for that key of metrics/vae.json with its interval,
`{vae!v:recognisability}` for the value alone, `{timing/vae!d:seconds_total}` for seconds as a duration. A key may lead
into a list, by the value or place of an entry: `restoration.t=30.ssim`, `sampling.0.steps`. A sentence of which any
number is missing is left out.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import Formatter

from triptych.results import measurements
from triptych.studies.catalogue import DDPM_EPOCHS, REPORT_DIMS, VAE_EPOCHS
from triptych.studies.epochs import stand_in

REPORT_TOTAL = 30  # epochs of the report; a shorter run shows those that correspond
TOP_LATENTS = 3


@dataclass(frozen=True)
class File:
    """Something that the pipeline measured: where it lies, which stage wrote it, what it holds."""

    path: Path
    stage: str
    content: Mapping | Sequence


@dataclass(frozen=True)
class Number:
    """A number of a sentence, ready to print, and the file that it comes from."""

    text: str
    file: File


Sentence = list[str | Number]


class MissingNumberError(LookupError):
    """A sentence needs a number that no file holds."""


@dataclass(frozen=True)
class Facts:
    """What sentences are made of.

    Attributes:
        files: metrics by the name of their part (`vae`, `ssl/simsiam`), timing below `timing/`, tables below `plots/`.
        params: params.yaml.
    """

    files: Mapping[str, File]
    params: Mapping = field(default_factory=dict)

    def look_up(self, name: str, key: str) -> tuple[object, object]:
        """A value and its interval, None where it has none.

        Raises:
            MissingNumberError: there is no such file, key or value.
        """
        if name not in self.files:
            raise MissingNumberError(name)
        value: object = self.files[name].content
        intervals: Mapping = {}
        for part in key.split("."):
            if isinstance(value, Mapping):
                intervals = value.get("intervals") or {}
                value = value.get(part)
            else:
                value = _entry(value, part)
        if value is None or value == "":
            raise MissingNumberError(f"{name}: {key}")
        return value, intervals.get(key.rpartition(".")[2])

    def number(self, name: str, key: str, how: str | None = None) -> Number:
        """A number as it is printed: with its interval; "v", the value alone; or "d", a duration.

        Raises:
            MissingNumberError: there is no such number.
        """
        value, interval = self.look_up(name, key)
        if how == "d":
            text = measurements.duration(float(value))
        else:
            style = measurements.measure(key.rpartition(".")[2]).style
            text = measurements.written(value, style)
            around = measurements.written_interval(interval, style)
            text += f" ({around})" if around and how != "v" else ""
        return Number(text, self.files[name])

    def param(self, key: str) -> object:
        """A value of params.yaml.

        Raises:
            MissingNumberError: there is none.
        """
        value: object = self.params
        for part in key.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if value is None:
            raise MissingNumberError(key)
        return value


def reading(figure: int, facts: Facts) -> Sentence:
    """What this run saw in the figure; empty where its files or keys are not there."""
    try:
        return READINGS[figure](facts) if figure in READINGS else []
    except MissingNumberError:
        return []


def plain(sentence: Sentence) -> str:
    """The sentence without its links."""
    return "".join(part if isinstance(part, str) else part.text for part in sentence)


def files_of(sentence: Sentence) -> list[File]:
    """The files that a sentence leans on, each once."""
    return list({part.file.path: part.file for part in sentence if isinstance(part, Number)}.values())


def _say(template: str) -> Callable[[Facts], Sentence]:
    """The function that fills the template."""
    return lambda facts: _filled(template, facts)


def _filled(template: str, facts: Facts) -> Sentence:
    sentence: Sentence = []
    for text, name, key, how in Formatter().parse(template):
        sentence += [text] if text else []
        sentence += [] if name is None else [facts.number(name, str(key), how)]
    return sentence


def _entry(entries: object, part: str) -> object:
    """The entry of a list whose `key=value` or position it is; None where there is none."""
    if not isinstance(entries, Sequence) or isinstance(entries, str):
        return None
    key, is_pair, wanted = part.partition("=")
    if is_pair:
        return next((entry for entry in entries if measurements.written(entry.get(key), ".10g") == wanted), None)
    is_place = part.removeprefix("-").isdigit() and -len(entries) <= int(part) < len(entries)
    return entries[int(part)] if is_place else None


# Study 1: the VAE -----------------------------------------------------------------------------------------------------


def _after_epoch(study: str, report_epoch: int, template: str) -> Callable[[Facts], Sentence]:
    """A sentence on a snapshot: <E> stands for this run's epoch, <N> for its last."""

    def fill(facts: Facts) -> Sentence:
        epochs = int(facts.param(f"{study}.training.epochs"))
        kept = list(facts.param(f"{study}.training.snapshot_epochs"))
        epoch = stand_in(report_epoch, REPORT_TOTAL, kept, epochs)
        return _filled(template.replace("<E>", str(epoch)).replace("<N>", str(epochs)), facts)

    return fill


def _class_latents(position: int) -> Callable[[Facts], Sentence]:
    """The latents that set the class in this position apart, with their shares."""

    def fill(facts: Facts) -> Sentence:
        file = facts.files.get("plots/vae/latents")
        rows = file.content if file else []
        classes = list(dict.fromkeys(row["class"] for row in rows))
        if position >= len(classes):
            raise MissingNumberError("class")
        of_class = [row for row in rows if row["class"] == classes[position]]
        strongest = sorted(of_class, key=lambda row: -row["share"])[:TOP_LATENTS]
        sentence: Sentence = [f"Class {measurements.written(classes[position], '.0f')} is set apart most by "]
        for place, row in enumerate(strongest):
            joint = "" if place == 0 else " and " if place == len(strongest) - 1 else ", "
            share = measurements.written(row["share"], ".0%") + (" of its distance" if place == 0 else "")
            sentence += [f"{joint}z{row['latent']:.0f} (", Number(share, file), ")"]
        return sentence + _filled("; over all classes the three strongest carry {vae:top_latents_share}.", facts)

    return fill


_VAE_SAMPLES = (
    "The finished VAE's samples: the judge is sure of a class in {vae:recognisability}, and in "
    "{vae!v:real_recognisability} of test images.",
    "The finished VAE's samples are {vae:sharpness_ratio} times as sharp as real images.",
    "The finished VAE's samples lie at a Fréchet distance of {vae:frechet_distance} from the test images; training "
    "images lie at {vae!v:frechet_floor}.",
    "The judge reads the right class in {vae:reconstruction_same_class} of the VAE's reconstructions, and is sure of "
    "one in {vae!v:recognisability} of its samples.",
    "The judge is sure of a class in {vae!v:recognisability} of the VAE's samples and in {ddpm!v:recognisability} of "
    "the DDPM's.",
)

_VAE: dict[int, Callable[[Facts], Sentence]] = {
    1: _say(
        "An epoch takes {timing/vae:seconds_per_epoch} s on average, {timing/vae:images_per_second} images a second; "
        "the whole training takes {timing/vae!d:seconds_total}."
    ),
    **{
        2 + place: _after_epoch(
            "vae",
            epoch,
            "After epoch <E> of <N> the training loss is {plots/vae/training:epoch=<E>.loss} nats an image; after the "
            "last it is {plots/vae/training:epoch=<N>.loss}, and the judge recognises {vae:recognisability} of "
            "samples.",
        )
        for place, epoch in enumerate(VAE_EPOCHS)
    },
    **{
        7 + place: _after_epoch(
            "vae",
            epoch,
            "After epoch <E> of <N> the reconstruction term is {plots/vae/training:epoch=<E>.nll} nats an image, after "
            "the last {plots/vae/training:epoch=<N>.nll}; then the error of test images is {vae:reconstruction_mse}, "
            "and the judge still reads the class of {vae:reconstruction_same_class}.",
        )
        for place, epoch in enumerate(VAE_EPOCHS)
    },
    **{12 + place: _say(template) for place, template in enumerate(_VAE_SAMPLES)},
    **{17 + position: _class_latents(position) for position in range(10)},
    27: _say(
        "Over all measured pairs the largest step in the judge's features is {vae:interpolation_smoothness} times the "
        "mean step, where 1 is perfectly even."
    ),
    55: _say("The posterior mean of {vae:active_units} latents varies over the test images."),
}


# Study 2: the DDPM ----------------------------------------------------------------------------------------------------

_DDPM_SAMPLES = (
    "The judge is sure of a class in {ddpm:recognisability} of the DDPM's samples, in {vae!v:recognisability} of the "
    "VAE's and in {ddpm!v:real_recognisability} of test images.",
    "The DDPM's samples are {ddpm:sharpness_ratio} times as sharp as real images, the VAE's {vae:sharpness_ratio} "
    "times.",
    "The DDPM's samples lie at a Fréchet distance of {ddpm:frechet_distance} from the test images, the VAE's at "
    "{vae:frechet_distance} and training images at {ddpm!v:frechet_floor}.",
    "In the judge's features {ddpm:precision} of the DDPM's samples lie among real images, and {ddpm:recall} of real "
    "images among samples.",
    "The DDPM needs at most {ddpm:vlb_bpd} bits per dimension for a test image.",
)


def _noised(t: int) -> Callable[[Facts], Sentence]:
    entry = f"ddpm:restoration.t={t}"
    return _say(
        f"At t = {t} the noise has a standard deviation of {{{entry}.sigma}} on [−1, 1]; test images noised so lie at "
        f"a PSNR of {{{entry}.noised_psnr}} dB."
    )


def _restored(t: int) -> Callable[[Facts], Sentence]:
    entry = f"ddpm:restoration.t={t}"
    return _say(
        f"From t = {t} the class comes back in {{{entry}.same_class}} of test images, with an SSIM of {{{entry}.ssim}} "
        f"and a PSNR of {{{entry}.psnr}} dB."
    )


def _restoration_rate(facts: Facts) -> Sentence:
    """The t from which half come back, where the curve falls that far."""
    reached, _ = facts.look_up("ddpm", "half_restored_reached")
    if reached:
        return _filled("At t = {ddpm:half_restored_t} half of the test images come back as another class.", facts)
    return _filled(
        "More than half of the test images keep their class even from t = {ddpm:restoration.-1.t}: "
        "{ddpm:restoration.-1.same_class}.",
        facts,
    )


_DDPM: dict[int, Callable[[Facts], Sentence]] = {
    28: _say(
        "An epoch takes {timing/ddpm:seconds_per_epoch} s on average, {timing/ddpm:images_per_second} images a second; "
        "the whole training takes {timing/ddpm!d:seconds_total}."
    ),
    **{
        29 + place: _after_epoch(
            "ddpm",
            epoch,
            "After epoch <E> of <N> the training loss is {plots/ddpm/training:epoch=<E>.loss}, after the last "
            "{plots/ddpm/training:epoch=<N>.loss}; then the judge recognises {ddpm:recognisability} of samples.",
        )
        for place, epoch in enumerate(DDPM_EPOCHS)
    },
    35: _noised(30),
    36: _restored(30),
    37: _noised(120),
    38: _restored(120),
    **{39 + place: _say(template) for place, template in enumerate(_DDPM_SAMPLES)},
    52: _restoration_rate,
    54: _say(
        "The first point, {timing/ddpm_sampling:sampling.0.sampler} sampling in "
        "{timing/ddpm_sampling:sampling.0.steps} steps, costs {timing/ddpm_sampling:sampling.0.seconds_per_image} s an "
        "image at a Fréchet distance of {plots/ddpm/sampling:0.frechet_distance}; the last, "
        "{timing/ddpm_sampling:sampling.-1.sampler} in {timing/ddpm_sampling:sampling.-1.steps}, "
        "{timing/ddpm_sampling:sampling.-1.seconds_per_image} s at {plots/ddpm/sampling:-1.frechet_distance}."
    ),
    56: _say(
        "The class comes back in {ddpm:restoration.0.same_class} of test images from t = {ddpm:restoration.0.t}, and "
        "in {ddpm:restoration.-1.same_class} from t = {ddpm:restoration.-1.t}."
    ),
}


# Study 3: SimSiam -----------------------------------------------------------------------------------------------------


def _accuracies(ablation: str, kept: str) -> Callable[[Facts], Sentence]:
    return _say(
        f"kNN accuracy ends at {{ssl/simsiam:knn_accuracy}} with {kept} and at {{ssl/{ablation}:knn_accuracy}} "
        f"without; an "
        "untrained encoder has {ssl/simsiam!v:random_init_knn_accuracy}."
    )


def _losses(ablation: str, kept: str) -> Callable[[Facts], Sentence]:
    """The losses at the end, and what the spread of the embeddings says of them."""

    def fill(facts: Facts) -> Sentence:
        return _filled(
            f"The loss ends at {{ssl/simsiam:final_loss}} with {kept} and at {{ssl/{ablation}:final_loss}} without; "
            f"the std of the embeddings is {{ssl/simsiam:embedding_std}} with it and {{ssl/{ablation}:embedding_std}} "
            f"without{_diagnosis(ablation, facts)}.",
            facts,
        )

    return fill


def _diagnosis(variant: str, facts: Facts) -> str:
    """`, a complete collapse from epoch 2 on`."""
    content = facts.files[f"ssl/{variant}"].content if f"ssl/{variant}" in facts.files else {}
    if "collapsed" not in content:
        return ""
    if not content["collapsed"]:
        return ", which is no collapse"
    kind, since = content.get("collapse_kind"), content.get("collapsed_since_epoch")
    return f", a {kind + ' ' if kind else ''}collapse" + (f" from epoch {since} on" if since is not None else "")


def widths(params: Mapping) -> list[tuple[int, int]]:
    """(output of the projector in this run, the report's width that it stands for), where both are known."""
    variants = (params.get("ssl") or {}).get("variants") or {}
    pairs = [((variants.get(name) or {}).get("projector_dim"), report) for name, report in REPORT_DIMS.items()]
    return [(here, report) for here, report in pairs if here]


def _wider(template: str) -> Callable[[Facts], Sentence]:
    """A sentence on two widths: <S> and <W> of this run; which of the report's they stand for follows where needed."""

    def fill(facts: Facts) -> Sentence:
        pairs = widths(facts.params)
        if len(pairs) < 2:
            raise MissingNumberError("projector_dim")
        (narrow, report_narrow), (wide, report_wide) = pairs
        stands = f" ({narrow} and {wide} stand for the report's {report_narrow} and {report_wide})"
        same = (narrow, wide) == (report_narrow, report_wide)
        text = (
            template.replace("<S>", str(narrow)).replace("<W>", str(wide)).replace("<stands>", "" if same else stands)
        )
        return _filled(text, facts)

    return fill


def _each(opening: str, template: str) -> Callable[[Facts], Sentence]:
    """A sentence that lists every method, in the order of params.yaml; <V> stands for the method."""

    def fill(facts: Facts) -> Sentence:
        sentence: Sentence = [opening]
        for variant in facts.param("ssl.variants"):
            if f"ssl/{variant}" in facts.files:
                said = _filled(template.replace("<V>", f"ssl/{variant}"), facts)
                sentence += [", " if len(sentence) > 1 else " ", f"{measurements.method_title(variant)} ", *said]
        if len(sentence) == 1:
            raise MissingNumberError("ssl")
        return [*sentence, "."]

    return fill


_SIMSIAM: dict[int, Callable[[Facts], Sentence]] = {
    44: _accuracies("no_stop_gradient", "stop-gradient"),
    45: _losses("no_stop_gradient", "stop-gradient"),
    46: _accuracies("no_predictor", "the predictor"),
    47: _losses("no_predictor", "the predictor"),
    48: _wider(
        "kNN accuracy ends at {ssl/simsiam:knn_accuracy} with an output of <S> and at "
        "{ssl/projector_4096:knn_accuracy} with <W><stands>; an untrained encoder has "
        "{ssl/simsiam!v:random_init_knn_accuracy}."
    ),
    49: _wider(
        "The loss ends at {ssl/simsiam:final_loss} with an output of <S> and at {ssl/projector_4096:final_loss} with "
        "<W><stands>; the embeddings use {ssl/simsiam:effective_rank} and {ssl/projector_4096:effective_rank} "
        "directions."
    ),
    50: _say(
        "After training, two views of one test image lie at a mean squared distance of {ssl/simsiam:alignment} on the "
        "unit sphere of embeddings; unrelated directions lie at 2."
    ),
    51: _each("Embedding std and effective rank at the end:", "{<V>:embedding_std} and {<V>:effective_rank}"),
    53: _each("kNN accuracy at the end:", "{<V>:knn_accuracy}"),
    57: _each("kNN accuracy and time of training:", "{<V>!v:knn_accuracy} in {timing/<V>!d:seconds_total}"),
}

READINGS: dict[int, Callable[[Facts], Sentence]] = _VAE | _DDPM | _SIMSIAM
