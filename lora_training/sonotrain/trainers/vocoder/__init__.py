"""The learned decoder: pictures to sound."""
