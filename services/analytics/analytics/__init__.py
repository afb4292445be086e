"""Daily revenue of the shop, from the topics `orders` and `payments`. Written from docs/wire.md alone."""
