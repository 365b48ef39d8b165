"""A practice cluster on loopback that real clients believe."""
