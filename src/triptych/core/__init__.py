"""Files, errors that the user can fix, random seeds, and validation of params.yaml."""
