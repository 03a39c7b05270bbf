"""Speed, measured on products of full size."""
