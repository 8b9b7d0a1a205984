"""Files to arrays and back; the reader is chosen by magic bytes after a strict header check."""
