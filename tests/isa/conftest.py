"""bochs.py runs by itself, with a library preloaded."""

collect_ignore = ["bochs.py"]
