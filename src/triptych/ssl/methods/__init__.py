"""One method a file, named as in params.yaml: its recipe's schema beside its loss."""
