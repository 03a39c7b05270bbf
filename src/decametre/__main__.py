"""`python -m decametre` is `decametre`."""

from decametre.cli.main import main

main()
