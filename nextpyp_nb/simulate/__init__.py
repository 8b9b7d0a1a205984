"""A pretend microscope: specimen, optics, detector and writer, with known truth."""
