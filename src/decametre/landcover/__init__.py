"""Land cover: patches with labels, networks that classify them, maps and scores."""
