"""The views of the commands that are only a view: `rbr lint`, `rbr classify` and `rbr metrics`."""
