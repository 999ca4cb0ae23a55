"""The results of a run: what the engine reports to a `Recorder` becomes LEAN's statistics and result files."""

from minilean.results.recorder import PortfolioView, Recorder

__all__ = ["PortfolioView", "Recorder"]
