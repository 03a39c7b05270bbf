"""Commands of the benchmarks, one module each."""
