"""`rbr explain`: explains the reward of a reply. `explain_view` renders the explanation."""
