"""What helps on each page at first."""

from __future__ import annotations

TIPS = {
    "generate": (
        "Say what you want to hear and press Generate (Ctrl+Enter). A result can be played, saved, dragged "
        "out to the desktop, or sent to Edit; a file that Sonopaint made brings its settings back when it "
        "is dropped here."
    ),
    "edit": (
        "Drag a box over what is to change, or along the waveform for a span of time, say what should be "
        "there, and paint. With several takes, the bar below switches between before and after while they "
        "play round the mark (B)."
    ),
    "convert": (
        "A picture of a sound is a PNG that any program can paint on. Drop it here again, and it becomes "
        "sound: made by Sonopaint or Riffusion, it says itself how."
    ),
    "dataset": (
        "A dataset is a folder of clips with a caption each. Good captions make good models: hear each "
        "clip, correct its words, and press Enter for the next one. Then go to Train."
    ),
    "train": (
        "Eight sounds of one kind are enough for a first try: name their folder and a word of your own, and "
        "press Train. The run goes on when this page is closed."
    ),
    "subject": (
        "Drop five clips of one thing, say what any of its kind is called, and press Train. At the end, "
        "Make variations paints as many others of it as you like."
    ),
    "models": (
        "Sonopaint Mini comes with Studio and is enough to begin with. Larger models paint more kinds of "
        "sound and want more memory; drop one on the left."
    ),
}
