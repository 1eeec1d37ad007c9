"""One measure a file, from models and arrays to numbers with intervals."""
