"""Labelled patches of 1200 m and the HDF5 stores that hold them."""
