"""Match and edit: the parameters of a synthesiser that make a given sound, to turn them and hear it again."""
