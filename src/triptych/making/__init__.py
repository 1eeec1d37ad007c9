"""Where images come from: what the stage `prepare` alone runs."""
