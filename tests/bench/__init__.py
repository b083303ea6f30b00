"""Measurements: `make bench`. Times depend on the machine, so each compares what was measured in the same run."""
