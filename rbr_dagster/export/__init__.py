"""`rbr export`: writes the fitted reward into a directory with a training script that needs no pipeline."""
