"""What Google is asked: the same day of work under six strategies, on a virtual clock, by the
sandbox's own accounting. ``python -m benchmarks.google_cost`` (``make bench-google``)."""
