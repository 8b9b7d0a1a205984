"""Arrays in, arrays and records out; no files, settings, logging or state."""
