"""What is done with trained models outside the pipeline."""
