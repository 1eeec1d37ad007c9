"""Charts and image grids."""
