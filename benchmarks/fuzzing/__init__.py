"""What `benchmarks/fuzz.py` runs: mutations of small valid files, and the readers that they are given to."""
