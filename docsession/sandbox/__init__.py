"""A stand-in for Google; imports nothing of the daemon."""
