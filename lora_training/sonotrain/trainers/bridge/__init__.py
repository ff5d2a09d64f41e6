"""The healing bridge: from damaged sounds to whole ones."""
