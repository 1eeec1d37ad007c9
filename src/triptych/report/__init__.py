"""Results read from files, records of studies, rules for claims, drawing."""
