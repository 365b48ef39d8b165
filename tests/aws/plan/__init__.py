"""Plans: pure parts, and all of it on the practice cluster."""
