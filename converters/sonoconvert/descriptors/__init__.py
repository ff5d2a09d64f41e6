"""What a sound is heard as, in numbers: joint time-frequency scattering, and multi-scale spectra."""
