"""The words of the VAE's numbers."""

from triptych.report import generated, timing
from triptych.report.record import Metric

METRICS = (
    Metric(
        "iwae_bpd",
        "likelihood bound, importance-weighted",
        "Bits that each pixel value of a test image costs at most, by K importance samples under the calibrated σ; "
        "lower is better.",
        headline=True,
    ),
    Metric(
        "elbo_bpd",
        "likelihood bound, ELBO",
        "The same from the evidence lower bound (ELBO), which is looser; lower is better.",
    ),
    Metric(
        "unit_variance_iwae_bpd",
        "importance-weighted bound, unit variance",
        "The same under the report's likelihood, N(μ, I) on [-1, 1], which no model brings below 8.32 bits.",
    ),
    Metric("unit_variance_elbo_bpd", "ELBO, unit variance", "The evidence lower bound under the report's likelihood."),
    Metric(
        "unit_variance_iwae_nats",
        "log-likelihood, unit variance",
        "The same bound in nats for a whole image, as the report gives it; higher is better.",
        ",.1f",
    ),
    Metric(
        "calibrated_sigma",
        "calibrated σ",
        "Standard deviation of the pixels around a decoded image, p(x|z), that fits the training images best, on "
        "[-1, 1].",
    ),
    Metric(
        "reconstruction_mse",
        "reconstruction error",
        "Mean squared error of test images rebuilt from their mean latents, on [-1, 1]; lower is better.",
        ".4f",
    ),
    Metric(
        "reconstruction_same_class",
        "reconstructions of the right class",
        "Share of test images whose digit the judge reads in their reconstruction.",
        ".1%",
    ),
    *generated.METRICS,
    Metric(
        "fitted_prior.components",
        "Gaussians of the fitted prior",
        "The prior that is fitted after training is a mixture of so many Gaussians.",
        ".0f",
    ),
    *generated.of_other_samples("fitted_prior", "fitted prior"),
    Metric(
        "active_units", "active latents", "Latents in use: their mean differs from one test image to another.", ".0f"
    ),
    Metric(
        "top_latents_share",
        "share of the top latents",
        "How much of what sets a class apart its three strongest latents carry, on average over classes.",
        ".1%",
    ),
    Metric(
        "interpolation_smoothness",
        "unevenness of interpolations",
        "Largest over mean step on a straight path between the latents of two images, in the judge's features: 1 is "
        "perfectly even.",
        ".2f",
    ),
    # Tables
    Metric("loss", "training loss", format=",.4g"),
    Metric("nll", "reconstruction term", format=",.4g"),
    *timing.METRICS,
)
