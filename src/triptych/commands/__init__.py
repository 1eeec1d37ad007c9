"""The commands of `triptych`, a module for each group: thin functions that import what they call when they run."""
