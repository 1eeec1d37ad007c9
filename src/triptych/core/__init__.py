"""Access to files, errors that the user can fix, random seeds, and the base class of the sections of params.yaml."""
