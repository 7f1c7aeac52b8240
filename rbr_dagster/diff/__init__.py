"""`rbr diff`: compares two rulebooks. `diff_view` renders the difference."""
