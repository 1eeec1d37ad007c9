"""The report's claims, each decided by numbers that were measured. One module a study."""
