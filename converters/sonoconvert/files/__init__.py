"""Sound files and what rides in them: clips, tags, damage, folders, writing beside and renaming."""
