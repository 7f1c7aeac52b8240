"""`rbr label`: writes a sheet of replies for people to label, and adds their labels to a gold file."""
