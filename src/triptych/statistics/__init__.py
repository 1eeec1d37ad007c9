"""A number with its interval, and how intervals are computed."""
