"""Rule Based Rewards for language model safety (arXiv 2411.01111): the method, without an orchestrator."""
