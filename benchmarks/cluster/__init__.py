"""Several daemons on one Redis, measured: what more of them cost, and what faults do."""
