"""The words of the VAE's numbers."""

from triptych.studies import timing
from triptych.studies.generated import metrics as generated
from triptych.studies.record import Metric

METRICS = (
    Metric(
        "iwae_bpd",
        "likelihood bound, importance-weighted",
        "Bits per dimension with K importance samples, under a calibrated likelihood of 8-bit pixels; lower is better.",
        headline=True,
    ),
    Metric(
        "elbo_bpd",
        "likelihood bound, ELBO",
        "The same from the evidence lower bound, which is looser; lower is better.",
    ),
    Metric(
        "unit_variance_iwae_bpd",
        "importance-weighted bound, unit variance",
        "Under the report's N(μ, I) on [-1, 1], below 8.32 bits per dimension is out of reach.",
    ),
    Metric("unit_variance_elbo_bpd", "ELBO, unit variance", "The evidence lower bound under N(μ, I)."),
    Metric(
        "unit_variance_iwae_nats",
        "log-likelihood, unit variance",
        "The same bound in nats for a whole image: the report's own number.",
        ",.1f",
    ),
    Metric(
        "calibrated_sigma",
        "calibrated σ",
        "Standard deviation of p(x|z) that fits the training images best, on [-1, 1].",
    ),
    Metric(
        "reconstruction_mse",
        "reconstruction error",
        "Mean squared error of test images decoded from their posterior mean, on [-1, 1].",
        ".4f",
    ),
    Metric(
        "reconstruction_same_class",
        "reconstructions of the right class",
        "Share of test images in whose reconstruction the judge reads their label.",
        ".1%",
    ),
    *generated.METRICS,
    Metric("active_units", "active latents", "Latents whose posterior mean varies over the test images.", ".0f"),
    Metric(
        "top_latents_share",
        "share of the top latents",
        "How much of a class's distance from the overall mean its three strongest latents carry, over the classes.",
        ".1%",
    ),
    Metric(
        "interpolation_smoothness",
        "unevenness of interpolations",
        "Largest step over mean step along a straight latent path, in the judge's features: 1 is perfectly smooth.",
        ".2f",
    ),
    # Tables
    Metric("loss", "training loss", format=",.4g"),
    Metric("nll", "reconstruction term", format=",.4g"),
    *timing.METRICS,
)
