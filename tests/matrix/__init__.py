"""Version sets: what the hosted notebook platforms ship, and the kernel-level tests on each."""
