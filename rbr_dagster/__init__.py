"""The `rbr` command and the Dagster code location.

The commands `run`, `plan`, `diff` and `explain` each have a folder, which also contains the view of the command. The
folder `views` contains the views of commands that are only a view: `lint`, `classify` and `metrics`.
"""
