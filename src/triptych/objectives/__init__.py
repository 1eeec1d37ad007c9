"""One method a file: a loss of (batch, draw) with its named terms."""
