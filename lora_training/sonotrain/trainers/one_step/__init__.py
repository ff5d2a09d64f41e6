"""What all trainers of one-step students share: the networks in their roles, and one iteration."""
