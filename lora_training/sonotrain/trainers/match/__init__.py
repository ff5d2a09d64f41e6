"""The analysers of match and edit: from sounds to synthesisers' parameters, by four losses."""
