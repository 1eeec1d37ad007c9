"""The report page holds every figure there is, needs nothing else, and says what it shows in the file's own numbers."""

import base64
import dataclasses
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from triptych.errors import InputError
from triptych.figures import measurements, page
from triptych.figures.catalogue import FIGURES, REPORT_FIGURES, figure, figure_path

ROOT = Path(__file__).parents[1]
VAE_METRICS = {
    "iwae_bpd": 4.125,
    "frechet_distance": 88.12,
    "frechet_floor": 0.91,
    "recognisability": 0.112,
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
LOADING = {"src", "srcset", "data", "poster", "background"}


class Document(HTMLParser):
    """The elements of a page with their attributes, and the text of its main part."""

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
    """A project in which the VAE has run and nothing after it."""
    write(tmp_path, "metrics/vae.json", VAE_METRICS)
    write(tmp_path, "metrics/timing/vae.json", TIMING)
    write(tmp_path, "metrics/data.json", {"generative": CARD})
    (tmp_path / "params.yaml").write_text("seed: 0 # </pre><script>\nevaluation:\n  confidence_level: 0.9\n")
    picture(tmp_path / "grid.png")
    for number in range(1, 28):
        picture(figure_path(tmp_path / "figures", number))
    return tmp_path


def write(root: Path, path: str, value: object) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(json.dumps(value))


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (64, 32), "teal").save(path)


def render(root: Path, *sources: measurements.Source) -> str:
    moved = [
        dataclasses.replace(source, metrics=root / source.metrics, timing=root / source.timing)
        for source in sources or (measurements.CLASSIFIER, measurements.VAE, measurements.DDPM)
    ]
    return page.render(
        page.Inputs(
            params=root / "params.yaml",
            data=root / "metrics/data.json",
            grids={"generative": root / "grid.png"},
            sources=moved,
            claims=root / "metrics/claims.json",
            figures=root / "figures",
        )
    )


def test_the_catalogue_numbers_the_reports_fifty_figures_each_with_a_name_of_its_own():
    assert [entry.number for entry in REPORT_FIGURES] == list(range(1, 51))
    assert len({entry.slug for entry in FIGURES}) == len({entry.number for entry in FIGURES}) == len(FIGURES)
    assert all(re.fullmatch(r"\w+", entry.slug) for entry in FIGURES)
    assert {entry.study: entry.number for entry in REPORT_FIGURES} == {"vae": 27, "ddpm": 43, "simsiam": 50}
    assert all(entry.caption.endswith(".") and entry.caption.count(". ") == 0 for entry in FIGURES)
    assert figure_path(Path("plots/figures"), 1) == Path("plots/figures/fig01_vae_wall_clock.png")


def test_every_figure_there_is_stands_on_the_page_in_order_with_alternative_text(project: Path):
    images = Document(render(project)).all("img")
    figures = [image for image in images if image["alt"].startswith("Figure")]
    assert [image["alt"] for image in figures] == [f"Figure {n}: {figure(n).title}" for n in range(1, 28)]
    assert len(images) == 28  # and the grid of the data
    assert all(image["alt"].strip() for image in images)


def test_the_page_carries_the_very_bytes_of_its_pictures(project: Path):
    figures = [image for image in Document(render(project)).all("img") if image["alt"].startswith("Figure 5:")]
    kind, content = figures[0]["src"].split(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(content) == figure_path(project / "figures", 5).read_bytes()
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
    document = Document(render(project, measurements.VAE))
    anchors = {attributes["id"] for _, attributes in document.elements if "id" in attributes}
    for link in document.all("a"):
        target = link["href"]
        assert target.removeprefix("#") in anchors if target.startswith("#") else target.startswith("../")


def test_text_from_files_is_escaped(project: Path):
    html = render(project)
    assert "digits &amp; &lt;b&gt;more&lt;/b&gt;" in html
    assert "</pre><script>" not in html
    assert "discretised &lt;Gaussian&gt;" in html


def test_numbers_come_with_their_interval_their_reference_and_their_file(project: Path):
    text = Document(render(project)).text.replace("\u00a0", " ")
    assert "11.2 % 10.0 to 12.3 %" in text
    assert "88.12 training against test images: 0.91" in text
    assert "never_heard_of 1.25" in text
    assert "metrics/vae.json , written by stage evaluate_vae ; intervals cover 90 %" in text
    assert "3 min 24 s" in text


def test_studies_that_have_not_run_say_which_figures_come_later(project: Path):
    text = Document(render(project)).text
    assert "This study has not run yet; to come: figures 28–43." in text
    assert "to come: figures 44–50." in text
    assert "Verdicts" not in text


def test_a_missing_figure_of_a_study_that_ran_is_named(project: Path):
    figure_path(project / "figures", 26).unlink()
    assert "Not drawn in this run: figure 26." in Document(render(project)).text


def test_an_empty_project_still_gives_a_page(tmp_path: Path):
    (tmp_path / "params.yaml").write_text("seed: 0\n")
    document = Document(render(tmp_path))
    assert document.all("img") == []
    assert document.open == []
    assert "to come: figures 1–27." in document.text


def test_verdicts_stand_before_everything_else(project: Path):
    claim = {"id": "vae-blurry", "claim": "VAE samples are blurry", "report_says": "blurry", "measured": 0}
    claims = [
        claim | {"interval": [0.25, 0.5], "verdict": "reproduced"},
        claim | {"id": "b", "measured": {"sharpness_ratio": 0.3}, "interval": None, "verdict": "not reproduced"},
        claim | {"id": "c", "measured": None, "interval": None, "verdict": "inconclusive"},
    ]
    write(project, "metrics/claims.json", claims)
    text = Document(render(project)).text
    assert text.index("1 reproduced, 1 not reproduced, 1 inconclusive.") < text.index("The setting")
    assert "VAE samples are blurry blurry 0 0.25 to 0.5 reproduced" in text
    assert "sharpness_ratio 0.3 – not reproduced" in text


def test_tables_in_a_metrics_file_become_tables(project: Path):
    restoration = [{"t": 30, "same_class": 0.98, "psnr": 27.5, "ssim": 0.9, "intervals": {"same_class": [0.97, 0.99]}}]
    write(project, "metrics/ddpm.json", {"vlb_bpd": 3.5, "restoration": restoration})
    text = Document(render(project)).text.replace("\u00a0", " ")
    assert "t same class PSNR, dB SSIM 30 98.0 % (97.0 to 99.0 %) 27.5 0.900" in text


def test_methods_of_one_study_are_compared_in_one_table(project: Path):
    for variant, accuracy in (("simsiam", 0.43), ("no_predictor", 0.14)):
        metrics = {"knn_accuracy": accuracy, "random_init_knn_accuracy": 0.15, "collapsed": accuracy < 0.2}
        write(project, f"metrics/ssl/{variant}.json", metrics)
    html = render(project, measurements.ssl_source("simsiam"), measurements.ssl_source("no_predictor"))
    text = Document(html).text.replace("\u00a0", " ")
    assert "simsiam 43.0 % untrained encoder: 15.0 % no no predictor 14.0 % untrained encoder: 15.0 % yes" in text


@pytest.mark.parametrize("path", ["metrics/vae.json", "metrics/data.json", "figures/fig01_vae_wall_clock.png"])
def test_a_damaged_input_is_named(project: Path, path: str):
    (project / path).write_text("{")
    with pytest.raises(InputError, match=re.escape(path)):
        render(project)


def test_the_same_files_give_the_same_page(project: Path):
    assert render(project) == render(project)


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Debian's chromium")
def test_a_browser_lays_the_page_out_within_a_phones_width(project: Path, tmp_path: Path):
    # The probe runs in a copy: the page itself has no script.
    probe = """<script>onload = () => document.title = JSON.stringify({
        wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
        broken: [...document.images].filter(image => !image.complete || !image.naturalWidth).length,
        images: document.images.length, requests: performance.getEntriesByType('resource')
            .filter(entry => !entry.name.startsWith('data:')).length})</script></body>"""
    target = tmp_path / "page.html"
    target.write_text(render(project).replace("</body>", probe))
    frame = tmp_path / "frame.html"
    frame.write_text(
        '<iframe src="page.html" style="width:390px;height:800px;border:0" onload="setTimeout(() =>'
        ' document.body.append(this.contentDocument.title))"></iframe>'
    )
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    done = subprocess.run(
        [
            "chromium",
            *flags.split(),
            "--disable-component-update",
            "--disable-sync",
            "--allow-file-access-from-files",
            f"--user-data-dir={tmp_path / 'browser'}",
            "--virtual-time-budget=10000",
            "--dump-dom",
            frame.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = json.loads(re.search(r"\{.*\}", done.stdout.split("</iframe>")[1])[0])
    assert found == {"wide": 0, "broken": 0, "images": 28, "requests": 0}
