"""An invented market in LEAN's data-folder format, for whoever has no data: see `simulation` for what is in it."""

from minilean.demo.folder import DemoMarket, write_demo_market

__all__ = ["DemoMarket", "write_demo_market"]
