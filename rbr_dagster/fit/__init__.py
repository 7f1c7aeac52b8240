"""`rbr fit`: fits the weights of the reward from tables of grades and scores, without the pipeline."""
