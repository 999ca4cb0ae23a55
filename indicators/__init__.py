"""Technical indicators: from daily bars to the features that the model sees.

In order of use:

* `catalogue`: the 61 candidates, a table (`CATALOGUE`; `python -m indicators` prints it).
* `panel`: `Bars` from LEAN's history of `required_bars(window)` sessions; `compute` turns them into a `Panel`
  (N stocks, L sessions, F indicators) and says which stocks cannot be used and why.
* `selection`: `select` keeps the indicators that say something the others do not, once, before the first decision.
* `scaling`: `scale` makes features of one size.

A value at a session comes from bars up to that session, and a stock's values from its own bars alone.
"""

from indicators.catalogue import CATALOGUE
from indicators.panel import Bars, Panel, compute, required_bars
from indicators.scaling import scale
from indicators.selection import Selection, select

__all__ = ["CATALOGUE", "Bars", "Panel", "Selection", "compute", "required_bars", "scale", "select"]
