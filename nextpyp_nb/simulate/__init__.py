"""A pretend microscope: specimen, optics, detector and writer, with known truth."""

from .exposure import Column, Exposure, compose
from .microscope import Microscope

__all__ = ["Column", "Exposure", "Microscope", "compose"]
