"""The command-line interface `triptych`."""
