"""Commands of the benchmarks. One file a benchmark."""
