"""What `benchmarks/chaos.py` runs: the program in forked processes, and the faults that are put in its way."""
