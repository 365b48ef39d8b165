"""Audits: reading, joining, asking."""
