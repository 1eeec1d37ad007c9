"""Pictures from numbers: reads files, never models; computes no result."""
