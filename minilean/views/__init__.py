"""What an algorithm holds in its hands: LEAN's names and doubles over the host's own objects."""
