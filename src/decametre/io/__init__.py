"""Products in, results out. GDAL is used here and nowhere else."""
