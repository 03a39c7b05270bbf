"""`decametre fleet`: many products on a cluster. One file a subcommand."""
