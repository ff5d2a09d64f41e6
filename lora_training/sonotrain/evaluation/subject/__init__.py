"""The bench of one-step subjects: identity, agreement with the prompt, diversity, memorisation, cost."""
