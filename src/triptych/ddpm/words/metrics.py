"""The words of the DDPM's numbers."""

from triptych.report import generated, timing
from triptych.report.record import Metric

METRICS = (
    Metric("vlb_bpd", "variational bound", "Bits per dimension; lower is better.", headline=True),
    Metric("vlb_parts_bpd.prior", "of it, prior", "What is left of the image at the end of the chain."),
    Metric("vlb_parts_bpd.diffusion", "of it, diffusion", "The steps of the chain between."),
    Metric("vlb_parts_bpd.decoder", "of it, decoder", "From the last step to 8-bit pixels."),
    *generated.METRICS,
    Metric("guided.weight", "guidance, weight", "How far samples go from the guide to the model: 1 is the model.", "g"),
    Metric("guided.epoch", "guidance, epoch", "The guide is the network as it was after this epoch.", ".0f"),
    *generated.of_other_samples("guided", "guided"),
    # Tables
    Metric("loss", "training loss", format=",.4g"),
    Metric("t", "t", format=".0f"),
    Metric("sigma", "noise σ"),
    Metric(
        "same_class", "same class", "Share of restored images in which the judge reads the original's class.", ".1%"
    ),
    Metric("psnr", "PSNR, dB", "Peak signal-to-noise ratio to the original.", ".1f"),
    Metric("ssim", "SSIM", "Structural similarity to the original: 1 is identical."),
    Metric("noised_psnr", "PSNR before, dB", "Of the noised image.", ".1f"),
    Metric("half_restored_t", "half come back at t", "Where half of the digits come back as another.", ".0f"),
    Metric("half_restored_reached", "half are lost within the measured t"),
    Metric("seconds_per_image", "seconds per image", format=".2g"),
    *timing.METRICS,
)
