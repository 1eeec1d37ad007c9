"""Typed schema of params.yaml: the only code that reads that file. One module a section."""
