"""The study of the VAE."""

from triptych.report.metrics import metrics
from triptych.report.record import Model, Study
from triptych.vae.words.claims import CLAIMS
from triptych.vae.words.figures import FIGURES

STUDY = Study(
    slug="vae",
    short="VAE",
    title="Variational autoencoder",
    question="A network squeezes each image into a few numbers, its latents, and rebuilds it from them. Latents drawn "
    "from a normal distribution, the prior, give new images. What do latents keep, and what do such images look like?",
    models=lambda params: [Model("vae", "VAE", "vae", "evaluate_vae")],
    metrics=metrics("vae", "samples", "fitted_prior", "timing"),
    claims=CLAIMS,
    figures=FIGURES,
    tables={"plots/vae/training.csv": "vae", "plots/vae/timing.csv": "vae", "plots/vae/latents.csv": "evaluate_vae"},
    settings={
        "vae.network.latents": "VAE: latents",
        "vae.likelihood_sigma": "VAE: σ of p(x|z)",
        "vae.training.epochs": "VAE: epochs",
        "vae.training.batch_size": "VAE: batch size",
        "vae.training.optimiser.learning_rate": "VAE: learning rate",
        "evaluation.vae.importance_samples": "VAE: importance samples K",
    },
    remark=lambda params: (
        "The VAE was trained once, with one seed. The intervals behind its verdicts are over images "
        "or epochs, so they do not say how far another training would differ."
    ),
)
