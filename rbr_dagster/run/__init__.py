"""`rbr run`: decides which assets are stale and makes them, wave after wave."""
