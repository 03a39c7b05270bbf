"""Benchmarks for the developers of decametre; `decametre bench` has those for users.

Run one as `python -m benchmarks NAME`, from the root of the repository.
"""
