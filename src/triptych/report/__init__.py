"""Read results, describe studies, decide the report's claims, and draw figures."""
