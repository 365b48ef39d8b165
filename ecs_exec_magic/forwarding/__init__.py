"""Ports of containers as ports of this machine: requests, sessions, local connections.

Knows how bytes of local connections travel over sessions. Never knows notebooks.
"""
