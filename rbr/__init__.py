"""The method of Rule Based Rewards for language model safety (arXiv 2411.01111), without an orchestrator."""
