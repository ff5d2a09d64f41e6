"""What paints: models, samplers, tasks and painters."""
