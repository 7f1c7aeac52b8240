"""The views of the commands that are only a view: `rbr lint`, `rbr new`, `rbr classify` and `rbr metrics`."""
