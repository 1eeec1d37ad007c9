"""The page and the terminal: everything that was measured, as people read it."""
