"""Read results of the pipeline, decide claims of the original report, and draw figures."""
