"""The one reader of what the stages measured, and how numbers are written."""
