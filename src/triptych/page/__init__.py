"""The report page, the terminal summary, model cards and the archive."""
