"""minilean: an embedded host that runs a LEAN algorithm's unmodified `main.py` and gives LEAN's own results."""
