"""The files a user edits: one profile and one rulebook directory."""

import dagster as dg


class Sources(dg.ConfigurableResource):
    """Where the snapshot assets find the files they read.

    Attributes:
        profile: path of the profile's YAML file.
        rulebook: path of the rulebook directory.
    """

    profile: str
    rulebook: str
