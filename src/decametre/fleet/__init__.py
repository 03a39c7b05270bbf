"""Many products on many workers: the same jobs as for one product, over a list of them."""
