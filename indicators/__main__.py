"""`python -m indicators` prints the catalogue as the Markdown table of docs/indicators.md."""

from indicators.catalogue import table

print(table())
