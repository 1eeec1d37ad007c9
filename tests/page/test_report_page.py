"""The report page is self-contained and shows all figures, claims and numbers of the files."""

import base64
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from triptych.core.errors import InputError
from triptych.page import build as page
from triptych.page.verdicts import verdict
from triptych.report.reader import Results
from triptych.studies import STUDIES

VAE_METRICS = {
    "iwae_bpd": 4.125,
    "frechet_distance": 88.12,
    "frechet_floor": 0.91,
    "recognisability": 0.112,
    "real_recognisability": 0.997,
    "never_heard_of": 1.25,
    "likelihood": "discretised <Gaussian>",
    "intervals": {"recognisability": {"low": 0.1, "high": 0.123}},
}
TIMING = {"seconds_per_epoch": 13.6, "seconds_total": 204.0, "images_per_second": 812.3, "device": "cpu", "threads": 2}
CARD = {
    "name": "digits & <b>more</b>",
    "train_images": 12000,
    "test_images": 2000,
    "shape": [3, 32, 32],
    "classes": ["0", "1"],
    "channel_mean": [0.5, 0.5, 0.5],
    "channel_std": [0.2, 0.2, 0.2],
    "source": "drawn",
    "licence": "free",
}
CLAIM = {
    "id": "vae-blurry",
    "claim": "VAE samples are blurry.",
    "report_says": "They stay blurry.",
    "figures": [2, 3, 4, 12],
    "statistic": "sharpness of samples; and more",
    "measured": 0.15,
    "interval": {"low": 0.14, "high": 0.16},
    "threshold": 0.5,
    "verdict": "reproduced",
    "finding": "Samples are 0.15 times as sharp. Blurry: met.",
    "evidence": {"recognisability": 0.112, "recognisability_low": 0.1, "recognisability_high": 0.123, "odd": 3},
    "sources": ["metrics/vae.json"],
}
LOADING = {"src", "srcset", "data", "poster", "background"}


class Document(HTMLParser):
    """The elements of a page with their attributes, and the text of <main>."""

    VOID = {"meta", "img", "link", "br", "input"}

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "main" in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Create a project in which only the VAE study has run."""
    write(tmp_path, "metrics/vae.json", VAE_METRICS)
    write(tmp_path, "metrics/timing/vae.json", TIMING)
    write(tmp_path, "metrics/data.json", {"generative": CARD})
    (tmp_path / "params.yaml").write_text("seed: 0 # </pre><script>\nevaluation:\n  confidence_level: 0.9\n")
    picture(tmp_path / "plots/data/generative.png")
    for number in range(1, 28):
        picture(figure_path(tmp_path, number))
    return tmp_path


def write(root: Path, path: str, value: object) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(json.dumps(value))


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (64, 32), "teal").save(path)


FIGURES = {figure.number: figure for study in STUDIES for figure in study.figures}


def figure_path(root: Path, number: int) -> Path:
    return FIGURES[number].path(root / "plots/figures")


def render(root: Path) -> str:
    return page.render(Results(root))


def test_every_figure_there_is_stands_on_the_page_in_order_with_alternative_text(project: Path):
    images = Document(render(project)).all("img")
    figures = [image for image in images if image["alt"].startswith("Figure")]
    titles = [f"Figure {n}: {FIGURES[n].title}." for n in range(1, 28)]
    assert [image["alt"][: len(title)] for image, title in zip(figures, titles, strict=True)] == titles
    assert len(images) == 28  # and the grid of the data
    assert all(image["alt"].strip() for image in images)


def test_the_page_carries_its_pictures_with_their_sizes(project: Path):
    figures = [image for image in Document(render(project)).all("img") if image["alt"].startswith("Figure 5:")]
    kind, content = figures[0]["src"].split(",")
    assert kind == "data:image/webp;base64"
    red, green, blue = Image.open(io.BytesIO(base64.b64decode(content))).getpixel((0, 0))
    assert (red, abs(green - 128) <= 2, abs(blue - 128) <= 2) == (0, True, True)  # teal
    assert (figures[0]["width"], figures[0]["height"]) == ("64", "32")


def test_the_page_loads_nothing(project: Path):
    html = render(project)
    document = Document(html)
    for tag, attributes in document.elements:
        for name in LOADING & attributes.keys():
            assert attributes[name].startswith("data:"), (tag, name)
        assert tag != "script"
    assert all(link["href"].startswith("data:") for link in document.all("link"))
    assert not re.search(r"@import|url\(|https?://", html)


def test_links_lead_inside_the_page_or_to_files_of_the_project(project: Path):
    document = Document(render(project))
    anchors = {attributes["id"] for _, attributes in document.elements if "id" in attributes}
    for link in document.all("a"):
        target = link["href"]
        assert target.removeprefix("#") in anchors if target.startswith("#") else target.startswith("../")


def test_text_from_files_is_escaped(project: Path):
    html = render(project)
    assert "digits &amp; &lt;b&gt;more&lt;/b&gt;" in html
    assert "</pre><script>" not in html
    assert "discretised &lt;Gaussian&gt;" in html


def test_numbers_come_with_interval_reference_and_file(project: Path):
    text = words(render(project))
    assert "11.2 % 10.0 to 12.3 %" in text
    assert "For comparison, training against test images: 0.91 88.12" in text
    assert "never_heard_of 1.25" in text
    assert "metrics/vae.json , written by stage evaluate_vae ; intervals cover 90 %" in text
    assert "3 min 24 s" in text


def test_studies_that_have_not_run_name_their_figures(project: Path):
    text = words(render(project))
    assert "This study has not run yet: figures 28–43." in text
    assert "This study has not run yet: figures 44–50." in text
    assert "Verdicts" not in text


def test_a_missing_figure_of_a_study_that_ran_is_named(project: Path):
    figure_path(project, 26).unlink()
    assert "Not drawn in this run: figure 26." in Document(render(project)).text


def test_an_empty_project_still_gives_a_page(tmp_path: Path):
    (tmp_path / "params.yaml").write_text("seed: 0\n")
    document = Document(render(tmp_path))
    assert document.all("img") == []
    assert document.open == []
    assert "figures 1–27." in document.text


# Verdicts -------------------------------------------------------------------------------------------------------------


def words(html: str) -> str:
    text = Document(html).text.replace("\u00a0", " ")
    return re.sub(r" (?=[–)])|(?<=[–(]) ", "", text)


CONDITION = {"id": "any", "statement": "Blurry, below 50 %.", "measured": 0.15, "threshold": 0.5}


def test_verdicts_come_first(project: Path):
    claims = [
        CLAIM,
        CLAIM | {"id": "b", "verdict": "not reproduced"},
        {"id": "c", "verdict": "inconclusive", "finding": "No.", "would_decide": "More seeds are needed."},
        {"id": "d", "verdict": "not measured", "finding": "Not measured: no run has d."},
    ]
    write(project, "metrics/claims.json", claims)
    text = words(render(project))
    assert text.index("1 reproduced 1 not reproduced 1 inconclusive 1 not measured") < text.index("Data and settings")
    claim = text[text.index("VAE samples are blurry.") :].partition(" not reproduced ")[0]
    for part in (
        "reproduced figures 2–4 , 12",
        "The report: They stay blurry.",
        "recognisability 11.2 % (10.0 to 12.3 %) odd 3",
    ):
        assert part in claim
    assert "More seeds are needed." in text and "No." not in text
    assert text.index("Not measured in this run d Not measured: no run has d.") > text.index("More seeds are needed.")


def test_a_claim_shows_its_conditions(project: Path):
    interval = {"low": 0.14, "high": 0.16}
    conditions = [
        CONDITION | {"interval": interval, "verdict": "reproduced"},
        CONDITION | {"id": "b", "statement": "Sharp.", "measured": None, "interval": None, "verdict": "not measured"},
    ]
    write(project, "metrics/claims.json", [CLAIM | {"conditions": conditions}])
    text = words(render(project))
    assert "met Blurry, below 50 %: 0.150 (0.140 to 0.160); threshold 0.5" in text
    assert "not measured Sharp" in text
    assert "Blurry: met." not in text  # the finding repeats the conditions


def test_a_condition_shows_its_null_and_what_other_runs_say(project: Path):
    met = CONDITION | {"verdict": "reproduced", "null": {"name": "shuffled labels", "value": 0.42}}
    refuted = CONDITION | {"verdict": "not reproduced", "measured": 0.7}
    write(project, "metrics/claims.json", [CLAIM | {"conditions": [met]}])
    write(project, "docs/full/metrics/claims.json", [CLAIM | {"conditions": [met | {"measured": 0.16}]}])
    text = words(render(project))
    assert "threshold 0.5 ; shuffled labels: 0.420 Other runs: full: met , 0.160" in text and "digits only" not in text
    write(project, "docs/real/metrics/claims.json", [CLAIM | {"conditions": [refuted]}])
    text = words(render(project))
    assert "full: met , 0.160; real: not met , 0.700. Met on rendered digits only" in text
    write(project, "docs/real/metrics/claims.json", [CLAIM | {"verdict": "not reproduced"}])  # of an older version
    assert "Other runs: real: not reproduced , 15.0" in words(render(project))


def test_the_page_begins_with_the_best_known_result(project: Path):
    fell = {
        "id": "fell",
        "statement": "Accuracy falls.",
        "measured": -0.68,
        "threshold": -0.05,
        "verdict": "reproduced",
    }
    floor = fell | {"id": "floor", "statement": "The loss is low.", "verdict": "inconclusive"}
    claim = CLAIM | {"id": "stop-gradient", "verdict": "partly reproduced", "conditions": [fell, floor]}
    write(project, "metrics/claims.json", [claim])
    header = " ".join(re.sub(r"<[^>]+>", "", render(project).partition("<nav")[0]).split())
    assert "The best-known result: Accuracy falls (−0.680): met; the loss is low (−0.680): undecided." in header
    write(project, "metrics/claims.json", [claim | {"verdict": "not measured"}])
    assert "The best-known result" not in render(project)


def test_verdict_and_figures_link_to_each_other(project: Path):
    write(project, "metrics/claims.json", [CLAIM])
    html = render(project)
    claim = re.search(r'<article id="claim-vae-blurry">.*?</article>', html, re.DOTALL)[0]
    assert re.findall(r'href="#figure-(\d+)"', claim) == ["2", "4", "12"]  # 2–4, 12
    assert 'href="../metrics/vae.json"' in claim
    shown = {int(n): block for n, block in re.findall(r'<figure id="figure-(\d+)"(.*?)</figure>', html, re.DOTALL)}
    assert {n for n, block in shown.items() if 'href="#claim-vae-blurry"' in block} == {2, 3, 4, 12}


def test_a_figure_that_is_not_drawn_is_named_without_a_link(project: Path):
    write(project, "metrics/claims.json", [CLAIM | {"figures": [12, 44]}])
    html = render(project)
    assert 'href="#figure-12"' in html
    assert 'href="#figure-44"' not in html


@pytest.mark.parametrize(
    ("id", "measured", "interval", "shown"),
    [
        ("predictor", -0.285, [-0.303, -0.267], ("−28.5 points", "−30.3 to −26.7 points")),
        ("vae-blurry", 0.15, [0.144, 0.156], ("15.0 %", "14.4 to 15.6 %")),
        ("ddpm-beats-vae", -12.348, [-12.74, -11.98], ("−12.3", "−12.7 to −12.0")),
    ],
)
def test_a_share_is_written_in_percent_and_a_difference_of_shares_in_points(id, measured, interval, shown):
    bounds = dict(zip(("low", "high"), interval, strict=True))
    one = verdict({"id": id, "measured": measured, "interval": bounds, "verdict": "reproduced"})
    assert (one.value.replace("\u00a0", " "), one.interval.replace("\u00a0", " ")) == shown


def test_the_reports_wrong_wordings_are_corrected(project: Path):
    text = words(render(project))
    for part in ("floor is −1, not 1", "acts on the target branch", "does not reconstruct", "BYOL is not contrastive"):
        assert part in text


# Sentences on this run ------------------------------------------------------------------------------------------------


def test_each_number_of_a_sentence_links_to_its_file(project: Path):
    html = render(project)
    block = re.search(r'<figure id="figure-12".*?</figure>', html, re.DOTALL)[0]
    link = re.search(r'<a class="number" href="([^"]+)" title="([^"]+)">([^<]+)</a>', block)
    assert link[1].endswith("metrics/vae.json") and link[2].endswith("written by stage evaluate_vae")
    assert link[3].replace("\u00a0", " ") == "11.2 % (10.0 to 12.3 %)"
    assert "11.2" in re.search(r'alt="Figure 12: ([^"]+)"', block)[1]


# Tables ---------------------------------------------------------------------------------------------------------------


def test_tables_in_a_metrics_file_become_tables(project: Path):
    restoration = [
        {
            "t": 30,
            "same_class": 0.98,
            "psnr": 27.5,
            "ssim": 0.9,
            "intervals": {"same_class": {"low": 0.97, "high": 0.99}},
        }
    ]
    write(project, "metrics/ddpm.json", {"vlb_bpd": 3.5, "restoration": restoration})
    text = Document(render(project)).text.replace("\u00a0", " ")
    assert "t same class PSNR, dB SSIM 30 98.0 % (97.0 to 99.0 %) 27.5 0.900" in text


SSL_PARAMS = """
ssl:
  methods:
    simsiam: {projector_dim: 512, predictor: mlp, stop_gradient: true}
  variants:
    simsiam: {method: simsiam}
    no_predictor: {method: simsiam, predictor: none}
    projector_4096: {method: simsiam, projector_dim: 1024}
"""


def write_ssl(root: Path) -> None:
    (root / "params.yaml").write_text(SSL_PARAMS)
    for variant, accuracy in (("simsiam", 0.43), ("no_predictor", 0.14), ("projector_4096", 0.44)):
        collapsed = accuracy < 0.2
        numbers = {"knn_accuracy": accuracy, "random_init_knn_accuracy": 0.15}
        metrics = numbers | {
            "collapsed": collapsed,
            "collapse_kind": "complete" if collapsed else "none",
            "collapse_reason": f"Seen at {accuracy}.",
            "collapsed_since_epoch": 2 if collapsed else None,
            "seeds": [{"seed": seed, **numbers, "collapsed_since_epoch": None} for seed in (0, 1)],
            "intervals": {"knn_accuracy": {"low": accuracy - 0.01, "high": accuracy + 0.01}},
        }
        write(root, f"metrics/ssl/{variant}.json", metrics)


def test_methods_of_one_study_are_compared_in_one_table(project: Path):
    write_ssl(project)
    text = words(render(project))
    assert "SimSiam 43.0 % 42.0 to 44.0 % untrained: 15.0 % no" in text
    assert "without predictor 14.0 % 13.0 to 15.0 % untrained: 15.0 % complete from epoch 2" in text
    assert "wider projector 44.0 %" in text
    assert "Settings: projector output 512, predictor mlp, stop-gradient." in text
    assert "collapsed_since_epoch" not in text


def test_each_seed_and_the_reason_of_its_collapse_are_listed(project: Path):
    write_ssl(project)
    text = words(render(project))
    assert "Collapse reason: Seen at 0.14. Seeds, from metrics/ssl/no_predictor.json" in text
    assert "0 14.0 % 15.0 %–1 14.0 % 15.0 %–" in text


def test_widths_that_differ_from_the_reports_are_named(project: Path):
    write_ssl(project)
    html = render(project)
    assert "512 dimensions where the report has 2048, and 1024 dimensions where the report has 4096." in words(html)
    (project / "params.yaml").write_text(SSL_PARAMS.replace("1024", "4096").replace("512", "2048"))
    assert "has 2048 dimensions, and 4096 dimensions." in words(render(project))


@pytest.mark.parametrize("path", ["metrics/vae.json", "metrics/data.json", "plots/figures/fig01_vae_wall_clock.png"])
def test_a_damaged_input_is_named(project: Path, path: str):
    (project / path).write_text("{")
    with pytest.raises(InputError, match=re.escape(path)):
        render(project)


def test_the_same_files_give_the_same_page(project: Path):
    assert render(project) == render(project)


def test_the_judge_comes_before_the_studies_once_it_has_run(project: Path):
    assert 'id="judge"' not in render(project)
    write(project, "metrics/classifier.json", {"test_accuracy": 0.5})
    html = render(project)
    assert html.index('id="judge"') < html.index('id="vae"')
    assert "Study 1 Variational autoencoder" in words(html)
    assert "written by stage evaluate_classifier" in words(html).replace(" ,", ",")
