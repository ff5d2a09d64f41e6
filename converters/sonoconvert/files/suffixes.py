"""By which suffixes files in folders are known; a file that is named itself is read by its content."""

# What libsndfile reads, and then what PyAV or FFmpeg reads.
SOUNDS = frozenset(
    ".wav .flac .ogg .oga .opus .mp3 .mp2 .aif .aiff .aifc .au .snd .caf .w64 .rf64 .voc "
    ".m4a .m4b .mp4 .mov .3gp .aac .webm .mka .mkv .amr .wma .ape .wv .ac3".split()
)
