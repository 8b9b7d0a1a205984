"""Watch a cryo-EM collection live: movies in, micrographs, particles and 2D classes out."""

__version__ = "0.1.0"
