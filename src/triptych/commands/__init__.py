"""Commands of `triptych` that use trained models: options and their words; the work is in `use`."""
