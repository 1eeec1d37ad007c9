"""The report page, the terminal summary, model cards and archives of runs."""
