"""What is done with trained models outside the pipeline: one module a command."""
