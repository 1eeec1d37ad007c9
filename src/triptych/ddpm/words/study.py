"""The study of the DDPM."""

from triptych.ddpm.words.claims import CLAIMS
from triptych.ddpm.words.figures import FIGURES
from triptych.report.metrics import metrics
from triptych.report.record import Model, Study

STUDY = Study(
    slug="ddpm",
    short="DDPM",
    title="Denoising diffusion",
    question="A network learns to undo noise, one small step at a time: do its samples beat the VAE's, and from how "
    "much noise does an image come back?",
    models=lambda params: [Model("ddpm", "DDPM", "ddpm", "evaluate_ddpm")],
    metrics=metrics("ddpm", "samples", "guided", "timing"),
    claims=CLAIMS,
    figures=FIGURES,
    tables={
        "plots/ddpm/training.csv": "ddpm",
        "plots/ddpm/sampling.csv": "evaluate_ddpm",
        "plots/ddpm/guidance.csv": "evaluate_ddpm",
        "metrics/timing/sample/ddpm.json": "sample@ddpm",
    },
    settings={
        "ddpm.network.name": "DDPM: network",
        "ddpm.process.parameterisation": "DDPM: what the network predicts",
        "ddpm.process.schedule.name": "DDPM: noise schedule",
        "ddpm.training.epochs": "DDPM: epochs",
        "ddpm.training.batch_size": "DDPM: batch size",
        "ddpm.training.optimiser.learning_rate": "DDPM: learning rate",
    },
    remark=lambda params: (
        "The DDPM was trained once, with one seed, as was the VAE that it is held against. The "
        "intervals behind these verdicts are over images, so they do not say how far another training would differ."
    ),
)
