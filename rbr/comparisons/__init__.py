"""Gives prompts a category, samples prompts, and plans and verifies the replies that are compared."""
