"""In a real browser every picture loads, nothing comes from the network, and the page fits a phone.

The page has no script. The test adds one to a copy, which writes its measurements into the document.
"""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from PIL import Image

from triptych.page import build as page
from triptych.report.reader import Results
from triptych.studies import figures

ROOT = Path(__file__).parents[2]
CHROMIUM = shutil.which("chromium")
PHONE, DESKTOP = 360, 1280  # pixels wide
LIGHT, DARK = 1, 0  # what the browser calls a preference for these colours
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",  # the browser's own requests
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--allow-file-access-from-files",  # so that the probe in a frame can write into the document around it
    "--enable-logging=stderr",
    "--virtual-time-budget=10000",
)
WORD = "incomprehensibilities" * 4  # in a text from outside, wider than a phone
VARIANTS = ("simsiam", "no_stop_gradient", "no_predictor", "projector_4096")
VERDICTS = ("reproduced", "not reproduced", "inconclusive")
INTERVAL = {"low": 0.4123, "high": 0.4391}
ACCURACIES = {"knn_accuracy": 0.426, "linear_accuracy": 0.5, "random_init_knn_accuracy": 0.15}
NUMBERS = ACCURACIES | {"embedding_std": 0.93, "effective_rank": 61.2, "uniformity": -2.9, "final_loss": -0.93}
METHOD = NUMBERS | {
    "collapsed": True,
    "collapse_kind": "dimensional",
    "collapse_reason": f"Seen. {WORD}.",
    "collapsed_since_epoch": 2,
    "seeds": [{"seed": seed, **NUMBERS, "collapsed_since_epoch": None} for seed in (0, 1)],
    "intervals": dict.fromkeys(ACCURACIES, INTERVAL),
}
CLAIM = {
    "claim": f"Without it {WORD}.",
    "report_says": WORD,
    "figures": [*range(1, 50, 2)],
    "statistic": f"kNN accuracy {WORD}",
    "measured": -0.2855,
    "interval": INTERVAL,
    "threshold": 0.05,
    "finding": WORD,
    "conditions": [
        {
            "id": "a",
            "statement": f"{WORD}.",
            "measured": 0.3,
            "interval": INTERVAL,
            "threshold": 0.1,
            "verdict": "reproduced",
        }
    ],
    "evidence": {f"number_{WORD}": 1.5},
    "sources": ["metrics/ssl/no_stop_gradient.json", "metrics/vae.json"],
}
PROBE = """<script>
const refused = [];
document.addEventListener("securitypolicyviolation", event => refused.push(event.blockedURI));
addEventListener("load", () => setTimeout(() => {
  const images = [...document.images];
  const found = {
    images: images.length,
    broken: images.filter(image => !image.complete || !image.naturalWidth).map(image => image.alt),
    requests: performance.getEntriesByType("resource").map(entry => entry.name)
      .filter(name => !name.startsWith("data:")),
    refused: refused,
    overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    background: getComputedStyle(document.body).backgroundColor,
    ink: getComputedStyle(document.body).color,
  };
  const target = window.parent === window ? document : window.parent.document;
  target.body.append("<found>" + JSON.stringify(found) + "</found>");
}, 200));
</script>"""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium")


@pytest.fixture(scope="module")
def html(tmp_path_factory) -> str:
    """The page of a project with all studies, figures and verdicts, and long words in its texts."""
    root = tmp_path_factory.mktemp("project")
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["ssl"] = {"variants": {name: {"method": "simsiam", "projector_dim": 512} for name in VARIANTS}}
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    shutil.copytree(ROOT / "metrics", root / "metrics")
    (root / "plots/vae").mkdir(parents=True)
    shutil.copy(ROOT / "plots/vae/latents.csv", root / "plots/vae")
    for variant in VARIANTS:
        write(root, f"metrics/ssl/{variant}.json", METHOD)
    write(root, "metrics/claims.json", [CLAIM | {"id": f"claim-{word[0]}", "verdict": word} for word in VERDICTS])
    for figure in figures():
        picture(figure.path(root / "plots/figures"))
    picture(root / "plots/data/generative.png")
    return page.render(Results(root))


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (1000, 20), "teal").save(path)


def write(root: Path, path: str, value: object) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(json.dumps(value))


def browse(html: str, folder: Path, width: int = DESKTOP, colours: int = LIGHT) -> tuple[dict, list[str]]:
    """Return the probe's findings in a frame of that width, and the lines of the browser's console."""
    policy = re.search(r'<meta http-equiv="Content-Security-Policy" content="([^"]+)">', html)
    if policy:  # the page's own, which lets the probe's script run besides
        html = html.replace(policy[1], f"{policy[1]}; script-src 'unsafe-inline'")
    (folder / "page.html").write_text(html.replace("</head>", f"{PROBE}</head>"))
    style = f"width:{width}px;height:800px;border:0"
    frame = f'<!doctype html><link rel="icon" href="data:,"><iframe src="page.html" style="{style}"></iframe>'
    (folder / "frame.html").write_text(frame)
    flags = [
        *FLAGS,
        f"--user-data-dir={folder / 'browser'}",
        f"--blink-settings=preferredColorScheme={colours}",
    ]
    command = [str(CHROMIUM), *flags, "--dump-dom", (folder / "frame.html").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r"&lt;found&gt;(.*?)&lt;/found&gt;", done.stdout)
    assert found, f"the probe wrote nothing:\n{done.stdout[-500:]}\n{done.stderr[-1500:]}"
    console = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    return json.loads(found[1].replace("&amp;", "&").replace("&gt;", ">").replace("&lt;", "<")), console


def brightness(colour: str) -> float:
    """Return the mean of `rgb(r, g, b)`."""
    return sum(map(int, re.findall(r"\d+", colour)[:3])) / 3


@pytest.fixture(scope="module")
def on_a_desk(html, tmp_path_factory) -> tuple[dict, list[str]]:
    return browse(html, tmp_path_factory.mktemp("desk"))


@pytest.fixture(scope="module")
def on_a_phone(html, tmp_path_factory) -> tuple[dict, list[str]]:
    """The page on a phone with a dark colour scheme."""
    return browse(html, tmp_path_factory.mktemp("phone"), PHONE, DARK)


def test_every_image_loads(on_a_desk):
    found, _ = on_a_desk
    assert found["images"] == len(figures()) + 1  # and the grid of the data
    assert found["broken"] == []


def test_the_console_stays_empty(on_a_desk, on_a_phone):
    assert on_a_desk[1] == on_a_phone[1] == []


def test_nothing_is_requested_from_the_network(on_a_desk, on_a_phone):
    for found, _ in (on_a_desk, on_a_phone):
        assert found["requests"] == found["refused"] == []


def test_the_page_fits_a_desk_and_a_phone(on_a_desk, on_a_phone):
    assert on_a_desk[0]["overflow"] == 0
    assert on_a_phone[0]["overflow"] == 0


def test_dark_colours_are_used_where_preferred(on_a_desk, on_a_phone):
    light, dark = on_a_desk[0], on_a_phone[0]
    assert brightness(light["background"]) > 200 > 100 > brightness(light["ink"])
    assert brightness(dark["background"]) < 60 < 150 < brightness(dark["ink"])


def test_the_probe_detects_failures(tmp_path):
    """Otherwise the tests above would pass on any page."""
    policy = """<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:">"""
    images = '<img src="http://127.0.0.1:9/x.png" alt="away"><img src="data:," alt="broken">'
    body = f'{images}<table width="3000"><tr><td>wide</td></tr></table>'
    found, console = browse(f"<html><head>{policy}</head><body>{body}</body></html>", tmp_path, PHONE)
    assert found["broken"] == ["away", "broken"]
    assert any("127.0.0.1" in name for name in found["refused"])
    assert found["overflow"] > 2000
    assert console
    found, _ = browse(f"<html><head></head><body>{body}</body></html>", tmp_path, PHONE)
    assert any("127.0.0.1" in name for name in found["requests"])
