"""`python -m minilean`."""

from minilean.cli import main

main()
