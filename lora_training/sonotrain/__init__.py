"""What makes weights: data, trainers, evaluation."""
