"""Coordinates of the two proteins that the pretend microscope looks at."""
