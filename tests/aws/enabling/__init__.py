"""Exec for services that are there already."""
