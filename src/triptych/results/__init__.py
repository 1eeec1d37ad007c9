"""The one reader of what the stages wrote, and the one formatter of numbers."""
